"""What a loader reads: random crops in training, every labeled pixel once in evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cropzoo.data.boundary import boundary_bits
from cropzoo.data.patches import Crops, Key, Tiles
from cropzoo.errors import CropzooError


def offsets(crops, count):
    return {int(crops[Key(epoch, 0)].sample.series[0, 0].min()) for epoch in range(count)}


def test_crops_reach_every_offset_the_last_included(traced, recipe):
    crops = Crops([traced(10, 9)], recipe(), (0,))
    assert offsets(crops, 200) == {row * 100 + column for row in range(3) for column in range(2)}


def test_crops_come_in_all_eight_turns_unless_told_not_to(traced, recipe):
    square = [traced(8, 8)]
    turned = Crops(square, recipe(), (0,))
    assert len({turned[Key(epoch, 0)].sample.series.tobytes() for epoch in range(150)}) == 8
    straight = Crops(square, recipe(flip_rotate=False), (0,))
    assert len({straight[Key(epoch, 0)].sample.series.tobytes() for epoch in range(20)}) == 1


def test_a_crop_depends_on_stream_epoch_and_position_alone(traced, recipe):
    samples = [traced(20, 20)]
    settings = recipe(temporal_dropout=0.3)

    def look(stream, epoch, position):
        sample = Crops(samples, settings, stream)[Key(epoch, position)].sample
        return sample.series.tobytes() + sample.dates.tobytes()

    assert look((0, 1), 2, 3) == look((0, 1), 2, 3)
    assert (
        len({look((0, 1), 2, 3), look((1, 1), 2, 3), look((0, 0), 2, 3), look((0, 1), 3, 3), look((0, 1), 2, 4)}) == 5
    )


def test_a_share_of_the_crops_ends_early_in_training_alone(traced, recipe):
    samples = [traced(8, 8)]
    whole = len(samples[0].dates)

    def lengths(share):
        crops = Crops(samples, recipe(end_early=share), (0,))
        return [len(crops[Key(epoch, 0)].sample.dates) for epoch in range(40)]

    assert set(lengths(0.0)) == {whole}
    assert 5 < lengths(0.5).count(whole) < 38
    early = Crops(samples, recipe(end_early=1.0), (0,))[Key(0, 0)].sample
    assert (early.dates == samples[0].dates[: len(early.dates)]).all()
    assert len(Tiles(samples, recipe(end_early=1.0))[Key(0, 0)].sample.dates) == whole


def test_an_epoch_has_as_many_crops_as_there_are_tiles(traced, recipe):
    samples = [traced(8, 8), traced(17, 9)]
    assert len(Crops(samples, recipe(), (0,))) == len(Tiles(samples, recipe())) == 1 + 3 * 2


@pytest.mark.parametrize("scale", [1, 2])
def test_crops_stay_aligned_through_everything(traced, recipe, scale):
    crops = Crops([traced(12, 11, scale)], recipe(temporal_dropout=0.4, max_dates=2), (0,))
    for epoch in range(30):
        crop = crops[Key(epoch, 0)].sample
        rows, columns = (crop.parcels - 1) // 1000, (crop.parcels - 1) % 1000
        fine = (crop.series[0, 0] % 10000).repeat(scale, 0).repeat(scale, 1)
        assert ((rows // scale) * 100 + columns // scale == fine).all()
        assert (crop.clear == (crop.series[:, 0] % 2 == 0)).all()
        assert (crop.series[:, 0, 0, 0] // 10000 * 10 + 17000 == crop.dates).all()
        assert 1 <= len(crop.dates) <= 2


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(("height", "width"), [(5, 3), (8, 8), (16, 8), (11, 19), (9, 4)])
def test_tiles_count_every_labeled_pixel_once_with_the_bits_of_the_whole(traced, recipe, height, width, scale):
    whole = replace(traced(height, width, scale), parcels=None)
    regular = traced(height, width, scale).parcels
    whole = replace(whole, parcels=((regular // 4000) * 100 + regular % 1000 // 4).astype(np.int32))
    bits = boundary_bits(whole.labels, whole.parcels)
    tiles = Tiles([whole], recipe())
    labels = np.full_like(whole.labels, 255)
    times = np.zeros(labels.shape, int)
    for position in range(len(tiles)):
        tile, item = tiles.places[position][1], tiles[Key(0, position)]
        assert item.sample.labels.shape == item.boundary.shape == (8 * scale, 8 * scale)
        rows, columns = np.nonzero(item.sample.labels != 255)
        at = (rows + scale * tile.row, columns + scale * tile.column)
        times[at] += 1
        labels[at] = item.sample.labels[rows, columns]
        assert (item.boundary[rows, columns] == bits[at]).all()
        assert (item.sample.parcels[rows, columns] == whole.parcels[at]).all()
    assert (times == (whole.labels != 255)).all()
    assert (labels == whole.labels).all()


def test_bits_are_those_of_the_tile_s_own_sample(traced, recipe):
    samples = [traced(8, 16, seed=1), traced(8, 8, seed=2)]
    tiles = Tiles(samples, recipe())
    for position in (0, 2, 1):
        number, tile = tiles.places[position]
        bits = boundary_bits(samples[number].labels, samples[number].parcels)
        assert (tiles[Key(0, position)].boundary == bits[:, tile.column : tile.column + 8]).all()


def test_a_repeated_tile_is_not_counted(traced, recipe):
    item = Tiles([traced(8, 8)], recipe())[Key(0, 0, repeated=True)]
    assert (item.sample.labels == 255).all()


def test_evaluation_takes_the_same_dates_at_every_call(traced, recipe):
    tiles = Tiles([traced(8, 8, dates=9)], recipe(max_dates=3, date_sampling="random"))
    assert {tuple(tiles[Key(epoch, 0)].sample.dates) for epoch in range(9)} == {(17000, 17040, 17080)}


def test_tiles_say_which_sample_they_are_of_and_its_first_date(traced, recipe):
    clear = np.ones((3, 8, 8), np.bool_)
    clear[0] = False
    second = replace(traced(8, 8), clear=clear)
    item = Tiles([traced(8, 8), second], recipe(dataset={"name": "b", "min_clear": 0.9}))[Key(0, 1)]
    assert item.number == 1
    assert item.sample.dates[0] == 17010
    assert item.first == 17000


def test_padding_does_not_make_a_small_clear_sample_cloudy(traced, recipe):
    small = replace(traced(3, 3), clear=np.ones((3, 3, 3), np.bool_))
    settings = recipe(dataset={"name": "b", "min_clear": 0.9})
    assert len(Tiles([small], settings)[Key(0, 0)].sample.dates) == 3
    assert len(Crops([small], settings, (0,))[Key(0, 0)].sample.dates) == 3


def test_a_series_of_one_date_passes(traced, recipe):
    one = [traced(8, 8, dates=1)]
    assert len(Crops(one, recipe(temporal_dropout=0.9, max_dates=3), (0,))[Key(0, 0)].sample.dates) == 1
    assert len(Tiles(one, recipe())[Key(0, 0)].sample.dates) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", [lambda *args: Crops(*args, (0,)), Tiles])
def test_nan_in_a_series_is_told_with_the_sample(traced, recipe, value, kind):
    spoilt = traced(8, 8)
    series = spoilt.series.astype(np.float32)
    series[1, 1, 3, 3] = value
    with pytest.raises(CropzooError, match="sample '8x8' holds NaN or infinity in its series"):
        kind([replace(spoilt, series=series)], recipe())[Key(0, 0)]


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
def test_parts_that_do_not_fit_together_are_told(traced, recipe, change):
    spoilt = traced(16, 16)
    with pytest.raises(CropzooError, match="sample '16x16' has a series of shape"):
        Tiles([replace(spoilt, **change(spoilt))], recipe())[Key(0, 0)]
