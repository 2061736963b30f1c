"""Options of `cropzoo prepare`."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from cropzoo.errors import UsageError
from cropzoo.io import Log

BLOCKS, YEAR = "blocks", "year"
"""Ways to split that are not a column of the parcel file."""

GROUND_CLASS, GROUND_IGNORE = "class", "ignore"
"""What ground without a parcel is: class 0, or ignored."""

MIN_WINDOW = 8
"""Pixels per side of the smallest window."""

_SEASON = re.compile(r"(\d{2})-(\d{2}):(\d{2})-(\d{2})")


@dataclass(frozen=True)
class PrepareOptions:
    """Options of a preparation, see the flags of `cropzoo prepare`.

    Args:
        parcels: Vector files of the parcels.
        images: Patterns of image files, or STAC item collections.
        crop_column: Parcel column with the crop.
        name_column: Parcel column with the crop name; need not exist.
        id_column: Parcel column with the id; empty to number the parcels.
        encoding: Encoding of the texts in the vector files; empty to find it out.
        year_column: Parcel column with the harvest year, which makes separate samples for each year; empty for none.
        season: First and last day of the series of a year, "MM-DD:MM-DD"; it starts in the previous year if the first
            day is later than the last.
        bands: Bands to use, or names for bands without descriptions; empty for all.
        clear_scl: Classes of the SCL band that are clear.
        offset: Radiometric offset of the digital numbers; None to read it from metadata.
        scale: Reflectance of one stored unit; None for 1e-4 for integers (Sentinel-2) and 1 for floats.
        classes: Table of crops and classes; None for one class per crop.
        background: Ground without a parcel: "class" for class 0, "ignore" to ignore it; None for class 0 with a warning
            if the parcels look incomplete.
        aoi: Polygons in which the parcels are complete: outside, ground without a parcel is ignored. None if they are
            complete everywhere.
        min_pixels: Classes with fewer pixels are rare.
        rare: What to do with rare classes, "ignore" or "merge".
        conflict: Pixels whose second crop has a larger share are ignored.
        window: Pixels per side of a sample.
        label_scale: Label pixels per image pixel and axis.
        split_by: "blocks", "year", or a parcel column with train, val and test, or with fold numbers.
        folds: Number of folds of blocks.
        block: Pixels per side of a block.
        seed: Random seed of the fold assignment.
        whole_parcels: Whether each parcel is used only in the fold that contains most of it.
        keep_empty: Whether to keep windows without a parcel.
        citation: Citation of the sources, for the dataset card and checkpoints.
        license: License of the sources, for the dataset card and checkpoints.

    Raises:
        UsageError: An invalid value.
    """

    parcels: tuple[Path, ...]
    images: tuple[str, ...]
    crop_column: str = "crop_code"
    name_column: str = "crop_name"
    id_column: str = ""
    encoding: str = ""
    year_column: str = ""
    season: str = "01-01:12-31"
    bands: tuple[str, ...] = ()
    clear_scl: tuple[int, ...] = (4, 5, 6)
    offset: int | None = None
    scale: float | None = None
    classes: Path | None = None
    background: str | None = None
    aoi: Path | None = None
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
        _require(bool(self.parcels), "--parcels", "nothing", "a vector file of parcels")
        _require(
            bool(self.images), "--images", "nothing", "image files, a pattern in quotes, or a STAC item collection"
        )
        _require(self.window >= MIN_WINDOW, "--window", self.window, f"{MIN_WINDOW} pixels or more")
        _require(self.label_scale in (1, 2, 4), "--label-scale", self.label_scale, "1, 2 or 4")
        _require(self.scale is None or self.scale > 0, "--scale", self.scale, "a number above 0")
        _require(
            0 <= self.conflict <= 0.5,
            "--conflict",
            self.conflict,
            "a share from 0 to 0.5, the largest possible share of a second crop",
        )
        grounds = (None, GROUND_CLASS, GROUND_IGNORE)
        _require(self.background in grounds, "--background", self.background, "'class' or 'ignore'")
        _require(
            self.aoi is None or self.background != GROUND_IGNORE,
            "--aoi",
            str(self.aoi),
            "left out with --background ignore, which ignores all ground without a parcel",
        )
        _require(self.rare in ("ignore", "merge"), "--rare", self.rare, "'ignore' or 'merge'")
        _require(self.folds >= 3, "--folds", self.folds, "3 or more: one to test, one to validate, the others to train")
        _require(self.block >= 1, "--block", self.block, "1 pixel or more")
        _require(self.split_by != YEAR or bool(self.year_column), "--split-by", YEAR, "used with --year-column")
        self.span(2000)

    def span(self, year: int) -> tuple[date, date]:
        """First and last day of the series of a year.

        Raises:
            UsageError: An invalid season.
        """
        found = _SEASON.fullmatch(self.season)
        try:
            if found is None:
                raise ValueError
            first, last = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
            return date(year - (first > last), *first), date(year, *last)
        except ValueError:
            raise UsageError(
                f"--season is {self.season!r}; it must be first to last day, such as 09-01:08-31"
            ) from None

    def as_dict(self) -> dict[str, Any]:
        """All options as JSON values."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        plain["parcels"] = [str(path) for path in self.parcels]
        plain |= {key: None if plain[key] is None else str(plain[key]) for key in ("classes", "aoi")}
        return plain


def _require(valid: bool, option: str, value: object, expected: str) -> None:
    if not valid:
        raise UsageError(f"{option} is {value!r}; it must be {expected}")


@runtime_checkable
class ImageSource(Protocol):
    """Dataset that writes images and parcels with `cropzoo prepare --from NAME`."""

    def write_images(self, folder: Path, log: Log, workers: int, /) -> None:
        """Write one image per date, such as `S2_2018-05-16.tif`, and the parcels, `parcels.gpkg`.

        Args:
            folder: Empty folder, created if it does not exist.
            log: Called with a progress line now and then.
            workers: Number of processes; up to 1 uses the current process.

        Raises:
            UsageError: The folder is not empty.
            CropzooError: A file cannot be written.
        """
        ...
