"""What the user asks `cropzoo prepare` for."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cropzoo.errors import UsageError
from cropzoo.io import Log

BLOCKS, YEAR = "blocks", "year"
"""Ways to split that are no column of the parcel file."""

SMALLEST = 8
"""Pixels on a side of the smallest window."""

_SEASON = re.compile(r"(\d{2})-(\d{2}):(\d{2})-(\d{2})")


@dataclass(frozen=True)
class PrepareOptions:
    """What to make of which files; see the flags of `cropzoo prepare`.

    Args:
        parcels: vector files.
        images: patterns of image files, or STAC item collections.
        crop_column, name_column: of the parcels: the crop, and its name, which need not exist.
        id_column: of the parcels: their ids; empty to number them.
        year_column: of the parcels: the harvest year; then every year is a sample of its own. Empty for none.
        season: first and last day of a year's series, "MM-DD:MM-DD"; it starts in the year before if the first is
            later.
        bands: names to use, or names for bands without description; empty for all.
        clear_scl: classes of an SCL band that are clear.
        offset: what the digital numbers carry too much; None for what the metadata say.
        scale: reflectance of one stored unit; None for Sentinel-2's 1e-4, and for 1 where images hold fractions.
        classes: table of crops and classes; None for one class a crop.
        min_pixels: a class with fewer is rare.
        rare: "ignore" or "merge".
        conflict: a pixel is ignored where its second crop has a larger share.
        window: pixels on a side of a sample.
        label_scale: how many times finer than the images labels are.
        split_by: "blocks", "year", or a column of the parcels with train, val and test, or with fold numbers.
        folds: of blocks.
        block: pixels on a side of a block.
        seed: deals the blocks.
        whole_parcels: a parcel counts only in the fold that has most of it.
        keep_empty: keep windows without any parcel.
        citation, license: of the sources, for card and checkpoints.

    Raises:
        UsageError: a value that is not allowed.
    """

    parcels: tuple[Path, ...]
    images: tuple[str, ...]
    crop_column: str = "crop_code"
    name_column: str = "crop_name"
    id_column: str = ""
    year_column: str = ""
    season: str = "01-01:12-31"
    bands: tuple[str, ...] = ()
    clear_scl: tuple[int, ...] = (4, 5, 6)
    offset: int | None = None
    scale: float | None = None
    classes: Path | None = None
    min_pixels: int = 0
    rare: str = "ignore"
    conflict: float = 0.4
    window: int = 128
    label_scale: int = 1
    split_by: str = BLOCKS
    folds: int = 5
    block: int = 512
    seed: int = 0
    whole_parcels: bool = False
    keep_empty: bool = False
    citation: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        _need(bool(self.parcels), "--parcels", "nothing", "a parcel file")
        _need(bool(self.images), "--images", "nothing", "image files, a pattern in quotes, or a STAC item collection")
        _need(self.window >= SMALLEST, "--window", self.window, f"{SMALLEST} pixels or more")
        _need(self.label_scale in (1, 2, 4), "--label-scale", self.label_scale, "1, 2 or 4")
        _need(self.scale is None or self.scale > 0, "--scale", self.scale, "a number above 0")
        _need(0 <= self.conflict <= 0.5, "--conflict", self.conflict, "a share from 0 to 0.5: no second has more")
        _need(self.rare in ("ignore", "merge"), "--rare", self.rare, "'ignore' or 'merge'")
        _need(self.folds >= 3, "--folds", self.folds, "3 or more: one to test, one to validate, the others to train")
        _need(self.block >= 1, "--block", self.block, "1 pixel or more")
        _need(self.split_by != YEAR or bool(self.year_column), "--split-by", YEAR, "used with --year-column")
        self.span(2000)

    def span(self, year: int) -> tuple[date, date]:
        """First and last day of the series of a year.

        Raises:
            UsageError: a season that is none.
        """
        found = _SEASON.fullmatch(self.season)
        try:
            if found is None:
                raise ValueError
            first, last = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
            return date(year - (first > last), *first), date(year, *last)
        except ValueError:
            raise UsageError(f"--season is {self.season!r}; it must be like 09-01:08-31, first to last day") from None

    def as_dict(self) -> dict[str, Any]:
        """Every option as JSON has it."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        plain["parcels"] = [str(path) for path in self.parcels]
        plain["classes"] = None if self.classes is None else str(self.classes)
        return plain


def _need(holds: bool, option: str, value: object, must: str) -> None:
    if not holds:
        raise UsageError(f"{option} is {value!r}; it must be {must}")


@runtime_checkable
class ImageSource(Protocol):
    """What a dataset offers for `cropzoo prepare --from NAME`, where it has images and parcels to give."""

    def write_images(self, folder: Path, tell: Log, workers: int) -> None:
        """Fill an empty folder with an image a date, `S2_2018-05-16.tif`, and the parcels, `parcels.gpkg`.

        Args:
            folder: made if need be.
            tell: is called with a line on how far it got, now and then.
            workers: processes; up to 1 works in this one.

        Raises:
            UsageError: the folder holds something.
            CropzooError: it can't be written.
        """
        ...
