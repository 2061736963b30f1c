"""Names in published weights files, told in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from cropzoo import CropzooError

_CONTRASTIVE_HEAD = re.compile(r"(.*\.)?attn_sim\..*|(.*\.)?(query_conv|key_conv)\.weight|(.*\.)?rel_[hw]")


SHOWN = 10
"""Unknown keys that are listed."""


def renamed(
    state_dict: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], backbone: str, dropped: str = ""
) -> dict[str, Tensor]:
    """A published state dict by our names; keys of a contrastive head are dropped.

    Args:
        state_dict: with or without the "module." of data parallelizm.
        rules: (pattern for a whole published key, our name for it) in the syntax of `re`; the first that fits counts.
        backbone: its name, for messages.
        dropped: pattern for whole published keys that nothing of ours needs.

    Raises:
        CropzooError: for keys that no rule knows, at most ten of them listed.
    """
    patterns = [(re.compile(pattern), name) for pattern, name in rules]
    converted: dict[str, Tensor] = {}
    unknown: list[str] = []
    for published, value in state_dict.items():
        key = published.removeprefix("module.")
        if _CONTRASTIVE_HEAD.fullmatch(key) or (dropped and re.fullmatch(dropped, key)):
            continue
        found = [match.expand(name) for pattern, name in patterns if (match := pattern.fullmatch(key))]
        if found:
            converted[found[0]] = value
        else:
            unknown.append(key)
    if unknown:
        shown = ", ".join(map(repr, unknown[:SHOWN]))
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise CropzooError(
            f"published weights of {backbone!r}; {len(unknown)} keys are no parameters of the published network: "
            f"{shown}{more}; check that the file holds that network"
        )
    return converted
