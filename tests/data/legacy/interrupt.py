"""A plugin that kills its process in training step $END_AT of a TSViT, counted over all stages."""

import os
import signal

from cropzoo import hookimpl
from cropzoo_plugins.backbones.tsvit import TSViT

_forward = TSViT.forward
_left = int(os.environ["END_AT"])


def _forward_or_die(self, series, dates, valid):
    global _left
    _left -= self.training
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return _forward(self, series, dates, valid)


TSViT.forward = _forward_or_die


@hookimpl
def cropzoo_datasets():
    return []
