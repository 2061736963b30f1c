"""What a loader reads: random crops in training, every labeled pixel once in evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cropzoo.data.boundary import boundary_bits
from cropzoo.data.patches import Crops, PatchKey, Tiles
from cropzoo.errors import CropzooError


def offsets(crops, count):
    return {int(crops[PatchKey(epoch, 0)].sample.series[0, 0].min()) for epoch in range(count)}


def test_crops_reach_every_offset_the_last_included(traced, options):
    crops = Crops([traced(10, 9)], options(), (0,))
    assert offsets(crops, 200) == {row * 100 + column for row in range(3) for column in range(2)}


def test_crops_are_flipped_and_rotated_unless_disabled(traced, options):
    square = [traced(8, 8)]
    turned = Crops(square, options(), (0,))
    assert len({turned[PatchKey(epoch, 0)].sample.series.tobytes() for epoch in range(150)}) == 8
    straight = Crops(square, options(flip_rotate=False), (0,))
    assert len({straight[PatchKey(epoch, 0)].sample.series.tobytes() for epoch in range(20)}) == 1


def test_a_crop_depends_on_stream_epoch_and_position_alone(traced, options):
    samples = [traced(20, 20)]
    settings = options(temporal_dropout=0.3)

    def look(stream, epoch, position):
        sample = Crops(samples, settings, stream)[PatchKey(epoch, position)].sample
        return sample.series.tobytes() + sample.dates.tobytes()

    assert look((0, 1), 2, 3) == look((0, 1), 2, 3)
    assert (
        len({look((0, 1), 2, 3), look((1, 1), 2, 3), look((0, 0), 2, 3), look((0, 1), 3, 3), look((0, 1), 2, 4)}) == 5
    )


def test_a_share_of_the_crops_ends_early_in_training_alone(traced, options):
    samples = [traced(8, 8)]
    whole = len(samples[0].dates)

    def lengths(share):
        crops = Crops(samples, options(end_early=share), (0,))
        return [len(crops[PatchKey(epoch, 0)].sample.dates) for epoch in range(40)]

    assert set(lengths(0.0)) == {whole}
    assert 5 < lengths(0.5).count(whole) < 38
    early = Crops(samples, options(end_early=1.0), (0,))[PatchKey(0, 0)].sample
    assert (early.dates == samples[0].dates[: len(early.dates)]).all()
    assert len(Tiles(samples, options(end_early=1.0))[PatchKey(0, 0)].sample.dates) == whole


def test_an_epoch_has_as_many_crops_as_there_are_tiles(traced, options):
    samples = [traced(8, 8), traced(17, 9)]
    assert len(Crops(samples, options(), (0,))) == len(Tiles(samples, options())) == 1 + 3 * 2


@pytest.mark.parametrize("scale", [1, 2])
def test_crops_stay_aligned_through_everything(traced, options, scale):
    crops = Crops([traced(12, 11, scale)], options(temporal_dropout=0.4, max_dates=2), (0,))
    for epoch in range(30):
        crop = crops[PatchKey(epoch, 0)].sample
        rows, columns = (crop.parcels - 1) // 1000, (crop.parcels - 1) % 1000
        fine = (crop.series[0, 0] % 10000).repeat(scale, 0).repeat(scale, 1)
        assert ((rows // scale) * 100 + columns // scale == fine).all()
        assert (crop.clear == (crop.series[:, 0] % 2 == 0)).all()
        assert (crop.series[:, 0, 0, 0] // 10000 * 10 + 17000 == crop.dates).all()
        assert 1 <= len(crop.dates) <= 2


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(5, 3), (8, 8), (16, 8), (11, 19), (9, 4)])
def test_tiles_count_every_labeled_pixel_once_with_the_bits_of_the_whole(traced, options, height, width, scale):
    whole = replace(traced(height, width, scale), parcels=None)
    regular = traced(height, width, scale).parcels
    whole = replace(whole, parcels=((regular // 4000) * 100 + regular % 1000 // 4).astype(np.int32))
    bits = boundary_bits(whole.labels, whole.parcels)
    tiles = Tiles([whole], options())
    labels = np.full_like(whole.labels, 255)
    times = np.zeros(labels.shape, int)
    for position in range(len(tiles)):
        tile, item = tiles.places[position][1], tiles[PatchKey(0, position)]
        assert item.sample.labels.shape == item.boundary.shape == (8 * scale, 8 * scale)
        rows, columns = np.nonzero(item.sample.labels != 255)
        at = (rows + scale * tile.row, columns + scale * tile.column)
        times[at] += 1
        labels[at] = item.sample.labels[rows, columns]
        assert (item.boundary[rows, columns] == bits[at]).all()
        assert (item.sample.parcels[rows, columns] == whole.parcels[at]).all()
    assert (times == (whole.labels != 255)).all()
    assert (labels == whole.labels).all()


def test_bits_are_those_of_the_tile_s_own_sample(traced, options):
    samples = [traced(8, 16, seed=1), traced(8, 8, seed=2)]
    tiles = Tiles(samples, options())
    for position in (0, 2, 1):
        number, tile = tiles.places[position]
        bits = boundary_bits(samples[number].labels, samples[number].parcels)
        assert (tiles[PatchKey(0, position)].boundary == bits[:, tile.column : tile.column + 8]).all()


def test_a_repeated_tile_is_not_counted(traced, options):
    item = Tiles([traced(8, 8)], options())[PatchKey(0, 0, repeated=True)]
    assert (item.sample.labels == 255).all()


def test_evaluation_takes_the_same_dates_at_every_call(traced, options):
    tiles = Tiles([traced(8, 8, dates=9)], options(max_dates=3, sampling="random"))
    assert {tuple(tiles[PatchKey(epoch, 0)].sample.dates) for epoch in range(9)} == {(17000, 17040, 17080)}


def test_tiles_say_which_sample_they_are_of_and_its_first_date(traced, options):
    clear = np.ones((3, 8, 8), np.bool_)
    clear[0] = False
    second = replace(traced(8, 8), clear=clear)
    item = Tiles([traced(8, 8), second], options(min_clear=0.9))[PatchKey(0, 1)]
    assert item.number == 1
    assert item.sample.dates[0] == 17010
    assert item.first == 17000


def test_padding_does_not_make_a_small_clear_sample_cloudy(traced, options):
    small = replace(traced(3, 3), clear=np.ones((3, 3, 3), np.bool_))
    settings = options(min_clear=0.9)
    assert len(Tiles([small], settings)[PatchKey(0, 0)].sample.dates) == 3
    assert len(Crops([small], settings, (0,))[PatchKey(0, 0)].sample.dates) == 3


def test_a_series_of_one_date_passes(traced, options):
    one = [traced(8, 8, dates=1)]
    assert len(Crops(one, options(temporal_dropout=0.9, max_dates=3), (0,))[PatchKey(0, 0)].sample.dates) == 1
    assert len(Tiles(one, options())[PatchKey(0, 0)].sample.dates) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [lambda *args: Crops(*args, (0,)), Tiles])
def test_nan_in_a_series_is_reported_with_the_sample(traced, options, value, kind):
    spoilt = traced(8, 8)
    series = spoilt.series.astype(np.float32)
    series[1, 1, 3, 3] = value
    with pytest.raises(CropzooError, match="sample '8x8' has NaN or infinity in its series"):
        kind([replace(spoilt, series=series)], options())[PatchKey(0, 0)]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: {"labels": s.labels[:12, :]},
        lambda s: {"labels": s.labels.repeat(3, 0).repeat(3, 1)[::2, ::2]},
        lambda s: {"parcels": s.parcels[:, :9]},
        lambda s: {"clear": s.clear[:2]},
        lambda s: {"dates": s.dates[:2]},
        lambda s: {"series": s.series[:0], "dates": s.dates[:0]},
    ],
)
def test_arrays_that_do_not_fit_together_are_reported(traced, options, change):
    spoilt = traced(16, 16)
    with pytest.raises(CropzooError, match="sample '16x16' has a series of shape"):
        Tiles([replace(spoilt, **change(spoilt))], options())[PatchKey(0, 0)]
