"""Crops, tiles and turns: labels, parcels and cloud mask stay on the pixels that they belong to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cropzoo.data.patches import crop_and_pad, flip_rotate, mask_overlap, tile_positions


def assert_aligned(sample, scale):
    """Parcels (and so labels) and cloud mask lie on the pixels of the series that they were made on."""
    value = sample.series[0, 0]
    rows, columns = (sample.parcels - 1) // 1000, (sample.parcels - 1) % 1000
    fine = value.repeat(scale, 0).repeat(scale, 1)
    assert ((rows // scale) * 100 + columns // scale == fine).all()
    assert (sample.clear == (sample.series[:, 0] % 2 == 0)).all()
    assert (sample.series[:, 0] == sample.series[:, 1]).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_all_eight_turns_keep_everything_aligned(traced, scale):
    whole = traced(6, 6, scale)
    by_parcel = dict(zip(whole.parcels.ravel().tolist(), whole.labels.ravel().tolist(), strict=True))
    seen = set()
    for state in range(8):
        turned = flip_rotate(whole, state)
        assert_aligned(turned, scale)
        found = zip(turned.parcels.ravel().tolist(), turned.labels.ravel().tolist(), strict=True)
        assert dict(found) == by_parcel
        seen.add(turned.series.tobytes())
        assert turned.place == (whole.place if state == 0 else {})
    assert len(seen) == 8


def test_a_turn_of_unlabeled_series_works(traced):
    bare = replace(traced(4, 4), labels=None, parcels=None, clear=None)
    assert flip_rotate(bare, 5).labels is None


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_crop_is_aligned_and_knows_where_it_lies(traced, scale):
    crop = traced(9, 12, scale).crop(2, 5, 4, 3)
    assert crop.series.shape[-2:] == (4, 3)
    assert crop.series[0, 0, 0, 0] == 205
    assert crop.labels.shape == (4 * scale, 3 * scale)
    assert_aligned(crop, scale)
    assert crop.place["transform"] == [10.0, 0.0, 500050.0, 0.0, -10.0, 5599980.0]
    assert crop.place["crs"] == "EPSG:32631"


def test_crops_of_crops_and_of_turned_rasters_lie_where_they_should(traced):
    skewed = replace(traced(9, 12), place={"crs": "x", "transform": [2.0, 0.5, 10.0, -0.25, -3.0, 20.0]})
    assert skewed.crop(1, 2, 8, 8).crop(3, 1, 4, 4).place == skewed.crop(4, 3, 4, 4).place
    a, b, c, d, e, f = skewed.crop(4, 3, 4, 4).place["transform"]
    assert (a, b, d, e) == (2.0, 0.5, -0.25, -3.0)
    assert (c, f) == (10 + 2 * 3 + 0.5 * 4, 20 - 0.25 * 3 - 3 * 4)
    assert replace(skewed, place={}).crop(1, 1, 2, 2).place == {}


@pytest.mark.parametrize("scale", [1, 2])
def test_a_sample_smaller_than_the_square_is_padded_and_marked(traced, scale):
    small = crop_and_pad(traced(5, 3, scale), 0, 0, 8)
    assert small.series.shape == (3, 2, 8, 8)
    assert (small.series[:, :, 5:, :3] == small.series[:, :, 4:5, :3]).all()
    assert (small.series[..., 3:] == small.series[..., 2:3]).all()
    for array, pad in ((small.labels, 255), (small.parcels, 0)):
        assert array.shape == (8 * scale, 8 * scale)
        assert (array[5 * scale :] == pad).all()
        assert (array[:, 3 * scale :] == pad).all()
    assert not small.clear[:, 5:].any()
    assert not small.clear[:, :, 3:].any()
    assert small.clear[:, :5, :3].any()
    assert small.place["transform"][2] == 500000.0


def test_padding_gives_a_mask_to_what_has_none(traced):
    small = crop_and_pad(replace(traced(5, 3), clear=None), 0, 0, 8)
    assert small.clear.sum() == 3 * 5 * 3


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (3, 5), (16, 8), (9, 8), (15, 21), (24, 7), (1, 1)])
def test_tiles_cover_every_pixel_and_leave_each_to_one_tile(height, width, size, traced):
    whole = traced(height, width)
    counted = np.zeros((height, width), int)
    for tile in tile_positions(whole, size):
        assert tile.row >= 0
        assert tile.column >= 0
        ones = np.zeros((size, size), np.uint8)
        kept = mask_overlap(ones, tile, 1) == 0
        rows, columns = np.nonzero(kept)
        inside = (rows + tile.row < height) & (columns + tile.column < width)
        np.add.at(counted, (rows[inside] + tile.row, columns[inside] + tile.column), 1)
        assert tile.row + size <= max(height, size)
        assert tile.column + size <= max(width, size)
    assert (counted == 1).all()
