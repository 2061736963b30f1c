"""The parts of the landscape: geometry, optics, curves and noise."""

from __future__ import annotations

import numpy as np
import pytest

from cropzoo_plugins.datasets.landscape.blocks import MARGIN, compute_shares
from cropzoo_plugins.datasets.landscape.curves import BANDS, compute_month_weights, read_curves
from cropzoo_plugins.datasets.landscape.land import FINE, Land
from cropzoo_plugins.datasets.landscape.noise import smooth_field
from cropzoo_plugins.datasets.landscape.parcels import CELL, compute_area, make_cell_pieces
from cropzoo_plugins.datasets.landscape.spectra import _SURFACES as SURFACES
from cropzoo_plugins.datasets.landscape.spectra import _surface_curves, compute_unit_spectra


def test_fields_have_the_sizes_of_north_western_europe():
    cells = [make_cell_pieces(7, row, column) for row in range(8) for column in range(8)]
    hectares = (
        np.array([compute_area(piece.polygon) for cell in cells for piece in cell if piece.role == "field"]) / 1e4
    )
    assert 0.8 < np.median(hectares) < 2.0
    assert np.quantile(hectares, 0.98) > 7
    assert hectares.max() > 10


def test_pieces_of_a_cell_fill_it_without_overlap():
    """The sum of their areas stays below the mesh's, and what they leave open is narrow."""
    total = sum(
        compute_area(piece.polygon)
        for row in range(6)
        for column in range(6)
        for piece in make_cell_pieces(3, row, column)
    )
    assert 0.95 < total / (36 * CELL**2) < 1.02


def test_shares_of_a_pixel_add_up_and_mix_at_an_edge():
    cells = 8 * FINE + 2 * MARGIN
    units = np.zeros((cells, cells), int)
    units[:, cells // 2 + FINE // 2 :] = 1
    found = compute_shares(units, 2, 10)
    assert np.allclose(found.sum(axis=0), 1)
    row = found[1, 4]
    assert row[4] == pytest.approx(0.5, abs=1e-9)
    assert 0.015 < row[3] < 0.1
    assert row[0] < 1e-3
    assert row[7] > 1 - 1e-2
    assert compute_shares(units, 2, 20).shape == (2, 4, 4)


def test_mixed_surfaces_are_the_measured_curve_of_undeclared_land():
    weights = np.array([share for share, _ in SURFACES.values()])
    mixture = np.tensordot(weights / weights.sum(), np.stack([_surface_curves()[name] for name in SURFACES]), axes=1)
    assert np.allclose(mixture, read_curves().mean[0])


def test_parcels_of_a_crop_scatter_around_its_measured_curve():
    days = (np.arange(12) + 0.5) * 365.25 / 12
    land = [Land(seed, 2018, 20).find_cell(row, column) for seed in range(6) for row in range(5) for column in range(5)]
    wheat = [unit for cell in land for _, unit in cell if unit.label == 1]
    mean = np.mean([compute_unit_spectra(wheat, days, climate)[0].mean(axis=0) for climate in range(40)], axis=0)
    measured = read_curves().mean[1]
    red, near_infrared = BANDS.index("B04"), BANDS.index("B08")
    assert np.corrcoef(mean[:, red], measured[:, red])[0, 1] > 0.95
    assert np.abs(mean[:, near_infrared] - measured[:, near_infrared]).max() < 0.06
    spread = compute_unit_spectra(wheat, days, 0)[0].std(axis=0)
    assert 0.5 < np.median(spread / read_curves().between[1]) < 1.6


def test_month_weights_close_the_year():
    weights = compute_month_weights(np.array([15.22, 366.0, 0.75, 30.44]))
    assert np.allclose(weights.sum(axis=1), 1)
    assert weights[0, 0] == pytest.approx(1, abs=1e-3)
    assert np.allclose(weights[1], weights[2])
    assert weights[3, :2] == pytest.approx([0.5, 0.5], abs=1e-2)


def test_noise_is_a_function_of_the_place():
    y, x = np.arange(40.0) * 10, np.arange(30.0) * 10
    whole = smooth_field(5, y, x, 70.0)
    assert np.allclose(whole[20:, 10:], smooth_field(5, y[20:], x[10:], 70.0))
    assert not np.allclose(whole, smooth_field(6, y, x, 70.0))
    wide = smooth_field(5, np.arange(300.0) * 50, np.arange(300.0) * 50, 60.0)
    assert abs(wide.mean()) < 0.03
    assert wide.std() == pytest.approx(1, abs=0.03)


def test_the_table_has_every_month_of_every_class():
    table = read_curves()
    assert table.mean.shape == table.between.shape == table.within.shape == (10, 12, 10)
    assert np.isfinite(table.mean).all()
    assert table.mean.min() > 0
    assert table.between.min() > 0
    assert len({c.color for c in table.classes}) == 10
