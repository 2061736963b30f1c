"""How an image is cut into chunks whose series stay small in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from cropzoo.regions import Window

MOST_BYTES = 96_000_000
"""Of a chunk's series. It bounds memory whatever the number of dates, and must not depend on the machine: batches are
cut within a chunk, so that it decides the last bits of a result."""

_DECODING = 0.25
"""What it costs to decode a pixel's series, beside what it costs a network to see it: between a processor, for which
it is nothing, and a large GPU, which waits for it."""

_SHAPES = (1, 2, 4, 8, 16, 32)


def chunk_size(
    image: Sequence[int], *, block: Sequence[int], size: int, stride: int, pixel_bytes: int
) -> tuple[int, int]:
    """Height and width of chunks, px: whole strides of the network's windows, as many as fit in `MOST_BYTES`.

    A chunk reads what its outermost windows see beyond it, and images decode whole blocks. So images in square blocks
    get square chunks, and those stored in rows of pixels wide ones.

    Args:
        image: height and width, px.
        block: height and width of the pieces in which the images are stored.
        size: side of the network's windows.
        stride: between them.
        pixel_bytes: of the series of a pixel.
    """
    most = max(MOST_BYTES // pixel_bytes, size * size)
    candidates = []
    for flat in _SHAPES:
        for shape in {(1 / flat, flat), (flat, 1 / flat)}:
            sides = [
                _whole(((most * part) ** 0.5) - size, stride, length) for part, length in zip(shape, image, strict=True)
            ]
            rows, columns = sides
            if flat == 1 or (rows + size) * (columns + size) <= most:
                candidates.append((_cost(sides, image, block, size), rows, columns))
    _, rows, columns = min(candidates)
    return rows, columns


def _whole(side: float, stride: int, length: int) -> int:
    """Strides that fit in a side, one at least; all of the image where it is no longer."""
    fitting = max(int(side) // stride, 1) * stride
    return length if fitting >= length else fitting


def _cost(sides: Sequence[int], image: Sequence[int], block: Sequence[int], size: int) -> float:
    """Pixels that are seen and decoded for each that is made."""
    seen = decoded = made = 1.0
    for side, length, piece in zip(sides, image, block, strict=True):
        made *= side
        seen *= min(side + size, length)
        decoded *= min(side + size + piece, length)
    return (seen + _DECODING * decoded) / made


def cut(inside: Window, rows: int, columns: int, size: int) -> Iterator[Window]:
    """Chunks that cover a part of an image, in rows; the edges lie on a lattice anchored at the image's first pixel.

    They lie in the middle of a network's window, so that this one alone is seen from both sides. What is left at the
    end, if it is less than half a window, goes to the chunk before it.
    """
    for row, height in _pieces(inside.row, inside.height, rows, size):
        for column, width in _pieces(inside.column, inside.width, columns, size):
            yield Window(row, column, height, width)


def _pieces(start: int, length: int, side: int, size: int) -> list[tuple[int, int]]:
    end, half = start + length, size // 2
    first = start - (start - half) % side + side if start >= half else side + half
    edges = [start, *(edge for edge in range(first, end, side) if end - edge > half), end]
    return [(edge, after - edge) for edge, after in pairwise(edges)]
