"""The data of a recipe: splits, loaders, normalizer and class counts for training and evaluation alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from cropzoo.config.recipe import SCALES, Recipe
from cropzoo.data.dates import DateOptions, Day
from cropzoo.data.label_subsets import LabelSelection, subsample_labels
from cropzoo.data.loader import Collate, make_loader
from cropzoo.data.normalize import Normalizer
from cropzoo.data.open import open_dataset, open_split
from cropzoo.data.patches import Crops, PatchOptions, Tiles, check_image_size
from cropzoo.data.sample import Dataset, LabelClass, Sample
from cropzoo.data.statistics import class_counts
from cropzoo.data.subsets import (
    RelabeledSamples,
    TruncatedSamples,
    label_table,
    restrict_dataset,
    select_samples,
)
from cropzoo.errors import CropzooError, UsageError
from cropzoo.parallel import get_rank, get_world_size
from cropzoo.plugins.registry import Zoo
from cropzoo.plugins.specs import BackboneInput, DateEncoding, Normalization

SPLITS = ("train", "val", "test")

_log = logging.getLogger("cropzoo")


@dataclass(frozen=True)
class ModelInputs:
    """What a model expects of its batches.

    Args:
        dates: encoding of dates.
        inputs: further inputs of its backbone.
        normalization: values of the series that it receives.
        size_multiple: number that divides the height and width of its images.
        bands: names of its bands, in order; those of the dataset if empty.
        mean: mean of each band, of scaled values.
        std: standard deviation of each band, of scaled values.
        classes: classes by label index; None for those of the dataset.
    """

    dates: DateEncoding
    inputs: tuple[BackboneInput, ...] = ()
    normalization: Normalization = "dataset"
    size_multiple: int = 1
    bands: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    classes: tuple[LabelClass, ...] | None = None


class DataModule(pl.LightningDataModule):
    """Splits of a dataset as a recipe selects them, with their loaders.

    Training reads random crops of `train` and tiles of `val`; evaluation reads tiles of any split. A distributed run
    shares the patches out.

    Args:
        dataset: the dataset.
        recipe: selection of samples, patches, dates, batch size and seed.
        inputs: what the model expects; bands and classes are matched to the dataset by name.
        split_names: names of the splits that the dataset declares.
        workers: number of worker processes of a loader; 0 loads in the main process.

    Attributes:
        classes: classes by label index.
        options: size, dates and augmentation of patches.
        collate: function that makes a batch of patches.
        normalizer: module that normalizes a batch on its device.
        stage: number of the training stage; each stage has its own random stream of crops.
        until: day after which dates are left out; None for none.

    Raises:
        UsageError: the recipe's image size is not a multiple of what the model takes.
        CropzooError: the dataset lacks a band of the model, or statistics are not valid.
    """

    def __init__(
        self,
        dataset: Dataset,
        recipe: Recipe,
        inputs: ModelInputs,
        *,
        split_names: Sequence[str] = SPLITS,
        workers: int = 0,
    ) -> None:
        super().__init__()
        check_image_size(recipe.backbone.name, inputs.size_multiple, recipe.image_size)
        self.dataset, self.recipe, self.inputs = dataset, recipe, inputs
        self.split_names, self.workers = split_names, workers
        self.classes = tuple(dataset.classes if inputs.classes is None else inputs.classes)
        self.options = patch_options(recipe)
        self.collate = Collate(inputs.dates, recipe.length, inputs.inputs)
        trained = (inputs.bands, dataset.scale, inputs.mean, inputs.std)
        own = (dataset.bands, dataset.scale, dataset.mean, dataset.std)
        self.normalizer = Normalizer(dataset.bands, *(trained if inputs.bands else own), inputs.normalization)
        self.stage = 0
        self.until: Day | None = None
        self._opened: dict[str, Sequence[Sample]] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes by label index."""
        return tuple(label.name for label in self.classes)

    def split(self, name: str) -> Sequence[Sample]:
        """The samples of a split in the recipe's seasons and sites, labeled by the classes of the model.

        Raises:
            UnknownName: the dataset does not declare the split.
            UsageError: no sample is selected.
            CropzooError: the split is empty.
        """
        if name not in self._opened:
            samples = _select(self.recipe, open_split(self.dataset, name, self.split_names), name)
            if self.inputs.classes is not None:
                table = label_table(self.dataset.classes, self.classes)
                samples = RelabeledSamples(samples, table, len(self.dataset.classes))
            self._opened[name] = samples
        samples = self._opened[name]
        return samples if self.until is None else TruncatedSamples(samples, self.until)

    @cached_property
    def training_samples(self) -> Sequence[Sample]:
        """The samples of `train` with the labels that the recipe selects."""
        recipe = self.recipe
        selection = LabelSelection(recipe.label_fraction, recipe.label_parcels, recipe.label_pixels)
        return subsample_labels(self.split("train"), selection, recipe.seed)

    @cached_property
    def splits(self) -> dict[str, Sequence[Sample]]:
        """The splits of a training: train, val, and test if the dataset has labels and the split exists."""
        splits = {"train": self.training_samples, "val": self.split("val")}
        if self.classes:
            try:
                splits["test"] = self.split("test")
            except CropzooError:
                _log.debug("split 'test' is not available", exc_info=True)
        return splits

    @cached_property
    def counts(self) -> dict[str, list[int]]:
        """Labeled pixels of each class, by split of a training; empty lists for a dataset without labels."""
        classes = len(self.classes)
        return {
            name: class_counts(samples, classes).tolist() if classes else [] for name, samples in self.splits.items()
        }

    def check_labels(self, finer: bool = False) -> None:
        """Check that every split has labels as fine as the logits.

        Args:
            finer: whether they may be a multiple of times finer.

        Raises:
            UsageError: labels and logits have different resolutions.
            CropzooError: a split is missing, empty, or without a labeled pixel.
        """
        for name in SPLITS:
            samples = self.split(name)
            if not sum(self.counts[name]):
                raise CropzooError(f"split {name!r} has no labeled pixel; add data, or divide it differently")
            check_resolution(name, samples[0], self.recipe.head.upsample, finer)

    def tiles(self, samples: Sequence[Sample]) -> Tiles:
        """Tiles that cover samples of any size."""
        return Tiles(samples, self.options)

    def tile_loader(self, split: str) -> DataLoader[Any]:
        """A loader of the tiles of a split, in order; errors as in `split`."""
        return self._make_loader(self.tiles(self.split(split)))

    def sample_loader(self, samples: Sequence[Sample]) -> DataLoader[Any]:
        """A loader of the tiles of labeled samples that have a labeled pixel, in order."""
        return self._make_loader(self.tiles(samples).labeled())

    def train_dataloader(self) -> DataLoader[Any]:
        """A loader of random crops of `train`, for the current stage."""
        stream = (self.recipe.seed, self.stage)
        return self._make_loader(Crops(self.training_samples, self.options, stream, self.recipe.crops_per_tile), stream)

    def val_dataloader(self) -> DataLoader[Any]:
        """A loader of the tiles of `val`, or of the recipe's share of them."""
        tiles, share = self.tiles(self.split("val")), self.recipe.val_fraction
        return self._make_loader(tiles if share == 1 else tiles.draw(share, self.recipe.seed))

    def test_dataloader(self) -> DataLoader[Any]:
        """A loader of the tiles of `test`."""
        return self.tile_loader("test")

    def truncate(self, day: Day) -> DataModule:
        """A copy whose series end on a day; without a year, in the year in which each series ends."""
        truncated = copy(self)
        truncated.until = day
        for cached in ("training_samples", "splits", "counts"):
            truncated.__dict__.pop(cached, None)
        return truncated

    def _make_loader(self, patches: Crops | Tiles, stream: Sequence[int] | None = None) -> DataLoader[Any]:
        return make_loader(
            patches,
            self.collate,
            batch_size=self.recipe.batch_size,
            workers=self.workers,
            stream=stream,
            rank=get_rank(),
            world_size=get_world_size(),
        )


def open_training_data(zoo: Zoo, recipe: Recipe, workers: int = 0) -> DataModule:
    """Open the dataset of a recipe for training; its classes and statistics are those of the training samples.

    Args:
        zoo: plugins, by which names are looked up.
        recipe: the recipe.
        workers: number of worker processes of a loader.

    Raises:
        UsageError: an objective of the recipe needs labels, and the dataset has none, or none as fine as the logits.
        CropzooError: a split without a labeled pixel where labels are needed, and all errors of the dataset.
    """
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    spec = zoo.datasets[recipe.dataset.name].spec
    needing = [name for name in recipe.objectives if zoo.objectives[name].spec.needs_labels]
    if needing and not dataset.classes:
        others = ", ".join(name for name, entry in zoo.objectives.items() if not entry.spec.needs_labels)
        raise UsageError(
            f"training with {needing[0]!r} on dataset {spec.name!r}; the dataset has no labels, and the objective "
            "needs them; use a dataset with labels, or pre-train with an objective that needs none: "
            f"--objective NAME ({others or 'no installed plugin offers one'})"
        )
    if recipe.train_years or recipe.train_sites:
        dataset = restrict_dataset(dataset, _select(recipe, open_split(dataset, "train", spec.splits), "train"))
    backbone = zoo.backbones[recipe.backbone.name].spec
    inputs = ModelInputs(backbone.dates, backbone.inputs, backbone.normalization)
    data = DataModule(dataset, recipe, inputs, split_names=spec.splits, workers=workers)
    if needing:
        data.check_labels(finer=all(zoo.objectives[name].spec.fitted for name in needing))
    return data


def open_data(zoo: Zoo, recipe: Recipe, inputs: ModelInputs, workers: int = 0) -> DataModule:
    """Open the dataset of a recipe for a trained model; warn about classes that the model does not know.

    Args:
        zoo: plugins, by which the dataset is looked up.
        recipe: the recipe.
        inputs: what the model expects.
        workers: number of worker processes of a loader.

    Raises:
        UsageError: the recipe's image size is not a multiple of what the model takes.
        CropzooError: the dataset lacks a band of the model, or shares no class with it.
    """
    dataset = open_dataset(zoo, recipe.dataset.name, recipe.dataset.options)
    if inputs.classes is not None:
        _check_classes(inputs.classes, dataset.classes)
    names = zoo.datasets[recipe.dataset.name].spec.splits
    return DataModule(dataset, recipe, inputs, split_names=names, workers=workers)


def patch_options(recipe: Recipe) -> PatchOptions:
    """Size, dates and augmentation of the patches of a recipe."""
    return PatchOptions(
        size=recipe.image_size,
        dates=DateOptions(recipe.length, recipe.max_dates, recipe.date_sampling, recipe.min_clear),
        flip_rotate=recipe.flip_rotate,
        temporal_dropout=recipe.temporal_dropout,
        end_early=recipe.end_early,
    )


def check_resolution(split: str, sample: Sample, logits: int, finer: bool = False) -> None:
    """Check that labels are as fine as the logits.

    Args:
        split: name of the split, for messages.
        sample: a labeled sample.
        logits: how many times finer than the images the logits are.
        finer: whether the labels may be a multiple of times finer than the logits.

    Raises:
        UsageError: labels and logits have different resolutions.
    """
    labels = sample.label_scale
    if labels % logits if finer else labels != logits:
        way = f"set head.upsample={labels}, or " if labels in SCALES else ""
        raise UsageError(
            f"training with head.upsample={logits}; labels of split {split!r} have {labels} x the resolution of the "
            f"images, logits {logits} x; {way}use labels of {logits} x their resolution"
        )


def _select(recipe: Recipe, samples: Sequence[Sample], split: str) -> Sequence[Sample]:
    """The samples in the recipe's seasons and sites: `test_*` for the split test, `train_*` for all others."""
    if split == "test":
        return select_samples(samples, split, recipe.test_years, recipe.test_sites)
    return select_samples(samples, split, recipe.train_years, recipe.train_sites)


def _check_classes(wanted: Sequence[LabelClass], given: Sequence[LabelClass]) -> None:
    """Warn about classes of the dataset that the model does not know.

    Raises:
        CropzooError: the model knows none of them.
    """
    known = {label.name for label in wanted}
    unknown = [label.name for label in given if label.name not in known]
    if unknown:
        _log.warning("classes that the model does not know are left out of the scores: %s", ", ".join(unknown))
    if len(unknown) == len(given):
        ours, theirs = (", ".join(label.name for label in classes) for classes in (wanted, given))
        raise CropzooError(
            f"the model and the data share no class; the model knows {ours}, the data have {theirs or 'no labels'}; "
            "use data with classes of the model"
        )
