"""Conversion of the parameter names of published weights files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from cropzoo import CropzooError

_CONTRASTIVE_HEAD = re.compile(r"(.*\.)?attn_sim\..*|(.*\.)?(query_conv|key_conv)\.weight|(.*\.)?rel_[hw]")


SHOWN = 10
"""Maximum number of unknown keys in a message."""


def rename_keys(
    state_dict: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], backbone: str, dropped: str = ""
) -> dict[str, Tensor]:
    """Rename the keys of a published state dict; keys of a contrastive head are dropped.

    Args:
        state_dict: Published state dict, with or without the "module." prefix of data parallelism.
        rules: Pairs of a pattern that matches a complete published key and a replacement, in the syntax of `re`; the
            first match applies.
        backbone: Name of the backbone, for error messages.
        dropped: Pattern of further published keys to drop.

    Raises:
        CropzooError: If keys match no rule; the message lists at most ten of them.
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
            f"published weights of {backbone!r}; {len(unknown)} keys are not parameters of the published network: "
            f"{shown}{more}; check that the file belongs to that network"
        )
    return converted
