"""TESSERA against its published implementation, and what its backbone does with series."""

from __future__ import annotations

import pytest
import torch

from cropzoo import UsageError, convert_published, create_model
from cropzoo.plugins.registry import load_zoo
from cropzoo_plugins.backbones.tessera import MOMENTS, encode_observed
from cropzoo_plugins.layers.bands import SENTINEL2

NETWORKS = ("small", "small_qk", "nano", "nano_qk", "default", "s1_empty", "t1")
OPTIONS = {
    "repr_dim": "repr_dim", "latent_dim": "latent_dim", "num_layers": "depth", "nhead": "heads",
    "dim_feedforward": "mlp_dim", "enable_qk_norm": "qk_norm",
}  # fmt: skip
RADAR = {
    "asc": ((5909.3921, 3405.0322), (1507.1750, 1531.2615)),
    "desc": ((5816.1382, 3277.7576), (1554.6475, 1546.4733)),
}
"""Mean and standard deviation of VV and VH of both orbits of Sentinel-1."""

SMALL = {"repr_dim": 6, "latent_dim": 4, "depth": 2, "heads": 2, "mlp_dim": 12}


@pytest.fixture
def published(parity):
    """`published(name)` is the backbone with the weights of a case, and the case's tensors."""

    def build(name):
        case = parity(f"tessera_{name}")
        options = {ours: case.settings[theirs] for theirs, ours in OPTIONS.items()}
        model = create_model("tessera", bands=tuple(MOMENTS), features_only=True, **options)
        model.load_state_dict(convert_published("tessera", case.state), strict=True)
        return model.eval(), case.tensors

    return build


def assert_close(found, expected):
    return torch.allclose(found, expected, rtol=1e-5, atol=1e-5)


def ones(steps):
    return torch.ones(steps.shape[:2])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_published_one(published, name):
    model, tensors = published(name)
    network, s1 = model.backbone, tensors["s1"]
    s2 = tensors["s2"].clone().requires_grad_()
    optical = network.s2(s2[..., :10], s2[..., 10], ones(s2))
    radar = network.s1(s1[..., :2], s1[..., 2], ones(s1))
    embedding = network.reduce(optical, radar)
    (embedding * tensors["cotangent"]).sum().backward()
    assert assert_close(optical, tensors["s2_pooled"])
    assert assert_close(radar, tensors["s1_pooled"])
    assert assert_close(embedding, tensors["embedding"])
    largest = tensors["grad_s2"].abs().max()
    assert (s2.grad - tensors["grad_s2"]).abs().max() < 1e-5 * largest


def test_series_of_sentinel_2_have_the_published_embeddings(published):
    model, tensors = published("pixels_s2")
    series = tensors["s2_bands"].permute(1, 2, 0)[None, ..., None] / 10000
    clear, dates = tensors["s2_masks"].bool().t()[None, ..., None], tensors["s2_doys"]
    for pixel in range(len(dates)):  # the days differ between the pixels
        one = slice(pixel, pixel + 1)
        valid = torch.ones(1, dates.shape[1], dtype=torch.bool)
        found = model(series[..., one, :], dates[one], valid, clear=clear[..., one, :])
        assert assert_close(found[..., 0, 0], tensors["embedding"][one])
    codes, scale = tensors["int8"].float(), tensors["int8_scale"][:, None]
    quantized = (tensors["embedding"] / scale).round()
    assert (quantized - codes).abs().max() <= 1


@pytest.mark.parametrize("name", ["pixels", "pixels_long"])
def test_pixels_of_both_sensors_have_the_published_embeddings(published, name):
    """Pixels without Sentinel-1, without Sentinel-2, and with more than 256 observations are among them."""
    model, tensors = published(name)
    network, radar = model.backbone, []
    for orbit, (mean, std) in RADAR.items():
        if f"s1_{orbit}_bands" in tensors:
            values = tensors[f"s1_{orbit}_bands"]
            standardized = (values - torch.tensor(mean)) / (torch.tensor(std) + 1e-9)
            radar.append((standardized, tensors[f"s1_{orbit}_doys"], values.ne(0).any(2)))
    mean, std = network.moments
    observed = tensors["s2_masks"].bool()
    assert observed.sum(1).tolist() == tensors["n_s2"].tolist()
    optical = encode_observed(network.s2, (tensors["s2_bands"] - mean) / (std + 1e-9), tensors["s2_doys"], observed)
    joined = [torch.cat(parts, 1) for parts in zip(*radar, strict=True)]
    assert joined[2].sum(1).tolist() == tensors["n_s1"].tolist()
    found = network.reduce(optical, encode_observed(network.s1, *joined))
    assert assert_close(found, tensors["embedding"])
    assert (0 in tensors["n_s1"] and 0 in tensors["n_s2"]) or max(tensors["n_s2"]) > 256


def test_default_options_have_the_published_number_of_parameters():
    for qk_norm, count in ((False, 7_112_322), (True, 7_113_346)):
        model = create_model("tessera", in_channels=10, features_only=True, qk_norm=qk_norm)
        assert sum(each.numel() for each in model.parameters()) == count


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_model("tessera", in_channels=10, features_only=True, **SMALL).eval()


def batch(length=30, seed=0):
    """Series (2, T, 10, 5, 4) of reflectance, days, valid dates and clear pixels; the last pixel is never clear."""
    source = torch.Generator().manual_seed(seed)
    series = torch.rand(2, length, 10, 5, 4, generator=source) / 2
    dates = torch.linspace(1, 366, length).long().expand(2, -1)
    valid = torch.arange(length) < torch.tensor([[length], [max(1, length // 2)]])
    clear = torch.rand(2, length, 5, 4, generator=source) < torch.linspace(0.05, 1, 20).view(5, 4)
    clear[:, :, -1, -1] = False
    return series, dates, valid, clear


@pytest.mark.parametrize("length", [1, 7, 30, 270])
def test_features_are_those_of_each_pixel_alone(network, length):
    series, dates, valid, clear = batch(length)
    with torch.no_grad():
        features = network(series, dates, valid, clear=clear)
        for item, row, column in ((0, 0, 0), (0, 2, 3), (1, 3, 1), (1, 4, 2)):
            seen = valid[item] & clear[item, :, row, column]
            if not seen.any():
                continue
            pixel = series[item, seen][None, ..., row : row + 1, column : column + 1]
            alone = network(pixel, dates[item, seen][None])
            assert torch.allclose(features[item, :, row, column], alone[0, :, 0, 0], atol=1e-5)
        nothing = features[:, :, -1, -1]
        assert torch.equal(nothing[0], nothing[1])
        mean = torch.tensor([MOMENTS[band][0] for band in SENTINEL2]).view(1, 1, 10, 1, 1) / 10000
        expected = network(mean, torch.zeros(1, 1, dtype=torch.int64))
        assert torch.allclose(nothing[:1], expected[..., 0, 0], atol=1e-5)


def test_the_order_of_bands_is_that_of_their_names(network):
    series, dates, valid, clear = batch()
    names = ("SCL", "b12", "B11", "B8A_20m", "B8", "B07", "B6", "B05", "B04", "B01", "B3", "B02")
    other = create_model("tessera", bands=names, features_only=True, **SMALL).eval()
    other.load_state_dict(network.state_dict())
    mixed = torch.full((2, 30, 12, 5, 4), 7.0)
    for place, name in ((1, 9), (2, 8), (3, 7), (4, 6), (5, 5), (6, 4), (7, 3), (8, 2), (10, 1), (11, 0)):
        mixed[:, :, place] = series[:, :, name]
    with torch.no_grad():
        assert torch.equal(network(series, dates, valid, clear=clear), other(mixed, dates, valid, clear=clear))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bands": ("B02", "B03", "B04", "B08")}, r"the network needs B05, B06, B07, B11, B12, B8A, too"),
        ({"bands": ("red", "nir")}, r"bands=\['red', 'nir'\] for 'tessera'; the network needs B02, B03"),
        ({"in_channels": 4}, "bands=None for 'tessera'; a pretrained network finds bands by their names"),
        ({"bands": (*SENTINEL2, "B2")}, "give one name for each, all different"),
        ({"in_channels": 10, "heads": 3, "latent_dim": 4}, "latent_dim=4 for 'tessera'; it must be a multiple of 3"),
        ({"in_channels": 10, "depth": 0}, "depth=0 for 'tessera'"),
        ({"in_channels": 10, "dropout": 1.0}, "dropout=1.0 for 'tessera'"),
    ],
)
def test_wrong_options_are_reported(arguments, message):
    with pytest.raises(UsageError, match=message):
        create_model("tessera", features_only=True, **arguments)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.filterwarnings("error")
def test_bfloat16_gives_about_the_same_features(qk_norm):
    torch.manual_seed(0)
    model = create_model("tessera", in_channels=10, features_only=True, qk_norm=qk_norm, **SMALL).eval()
    series, dates, valid, clear = batch()
    exact = model(series, dates, valid, clear=clear)
    with torch.autocast("cpu", torch.bfloat16):
        features = model(series, dates, valid, clear=clear)
    features.float().square().sum().backward()
    assert (features - exact).abs().max() < 0.2
    assert (features - exact).abs().mean() < 0.02
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.requires_grad)


def test_the_branch_of_sentinel_1_is_not_trained(network):
    frozen = {name.split(".")[1] for name, each in network.named_parameters() if not each.requires_grad}
    assert frozen == {"s1"}


def test_keys_of_another_network_are_refused(parity):
    state = dict(parity("tessera_t1").state)
    del state["s2_backbone.transformer_encoder.0.k_proj.weight"]
    with pytest.raises(Exception, match=r"published weights of 'tessera'; 2 keys are not .*q_proj.weight"):
        convert_published("tessera", state)
    with pytest.raises(Exception, match="published weights of 'tessera'"):
        convert_published("tessera", {"encoder.weight": torch.zeros(1)})


def test_the_spec_declares_what_the_network_uses():
    spec = load_zoo().backbones["tessera"].spec
    assert (spec.dates, spec.inputs, spec.normalization) == ("doy", ("clear", "padded"), "reflectance")
