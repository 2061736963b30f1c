"""A map of what shards have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cropzoo.errors import CropzooError
from cropzoo.mapping.cog import Advance, assemble
from cropzoo.mapping.parts import SUFFIX, Parts
from cropzoo.mapping.targets import check_targets, plan_of, target_paths

_NAMED = 8
"""Chunks that a message names."""


@dataclass(frozen=True)
class Mosaic:
    """What was put together.

    Args:
        paths: file of each output.
        chunks: of the plan.
        failures: why chunks could not be made, by number; there the map has no data, and the parts are kept.
        new: whether anything had to be done.
    """

    paths: dict[str, Path]
    chunks: int
    failures: dict[int, str]
    new: bool = True


def mosaic(path: Path, *, overwrite: bool = False, advance: Advance | None = None) -> Mosaic:
    """The map of parts that one run or several shards have made; the parts are removed once it is whole.

    Args:
        path: the map to make, or the folder of its parts.
        overwrite: replace the map that is there.
        advance: takes (steps done, steps in all).

    Raises:
        CropzooError: there are no parts; chunks are missing, and then the message names the shards that make them; a
            map is there; a part is damaged; the map cannot be written.
    """
    parts = Parts(path) if path.name.endswith(SUFFIX) else Parts.beside(path)
    if not parts.begun and parts.out.is_file() and plan_of(parts.out):
        return Mosaic({"map": parts.out}, 0, {}, new=False)
    order = parts.order()
    paths = target_paths(parts.out, order.outputs)
    check_targets(paths, overwrite=overwrite, digest=order.digest)
    failures = parts.failures()
    missing = [number for number in parts.missing(chunk.number for chunk in order.chunks) if number not in failures]
    if missing:
        raise _incomplete(parts, missing, len(order.chunks))
    assemble(order, parts, parts.out, order.outputs, order.classes, order.tags, advance)
    if not failures:
        parts.remove()
    return Mosaic(paths, len(order.chunks), failures)


def _incomplete(parts: Parts, missing: Sequence[int], count: int) -> CropzooError:
    named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
    told = f"map {str(parts.out)!r}; {len(missing)} of its {count} chunks are not made yet (numbers {named})"
    begun = parts.shards()
    if not begun:
        return CropzooError(f"{told}; run the same `cropzoo predict` with --resume")
    shards = max(begun, key=lambda several: len(begun[several]))
    wanted = sorted({number % shards + 1 for number in missing})
    still = [shard for shard in wanted if shard in begun[shards]]
    never = [shard for shard in wanted if shard not in begun[shards]]
    lines = [
        f"{what} {', '.join(f'{shard}/{shards}' for shard in several)}"
        for what, several in (("unfinished:", still), ("never begun:", never))
        if several
    ]
    return CropzooError(
        f"{told}; shards {'; '.join(lines)}; wait for those at work, and run the others again, "
        f"`cropzoo predict ... --shard {wanted[0]}/{shards}`, which keep what is done"
    )
