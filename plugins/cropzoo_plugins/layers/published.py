"""Names in published weights files, told in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from cropzoo import CropzooError

_CONTRASTIVE_HEAD = re.compile(r"(.*\.)?attn_sim\..*|(.*\.)?(query_conv|key_conv)\.weight|(.*\.)?rel_[hw]")


def renamed(
    state_dict: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], backbone: str, dropped: str = ""
) -> dict[str, Tensor]:
    """A published state dict by our names; keys of a contrastive head are dropped.

    Args:
        state_dict: with or without the "module." of data parallelism.
        rules: (pattern for a whole published key, our name for it) in the syntax of `re`; the first that fits counts.
        backbone: its name, for messages.
        dropped: pattern for whole published keys that nothing of ours needs.

    Raises:
        CropzooError: for a key that no rule knows.
    """
    patterns = [(re.compile(pattern), name) for pattern, name in rules]
    converted = {}
    for published, value in state_dict.items():
        key = published.removeprefix("module.")
        if _CONTRASTIVE_HEAD.fullmatch(key) or (dropped and re.fullmatch(dropped, key)):
            continue
        found = [match.expand(name) for pattern, name in patterns if (match := pattern.fullmatch(key))]
        if not found:
            raise CropzooError(
                f"published weights of {backbone!r}; {key!r} is not a parameter of the published network; "
                "check that the file holds that network"
            )
        converted[found[0]] = value
    return converted
