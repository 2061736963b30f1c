"""Straightforward UNet2D-CLSTM that processes all dates step by step, the reference for speed and results.

It uses the parameters of cropzoo's model, so that both compute the same function.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cropzoo.models.base import Model


def straightforward_logits(model: Model, series: Tensor, dates: Tensor, valid: Tensor) -> Tensor:
    """Logits (B, K, H, W) of a `unet2d-clstm` in evaluation mode with masked padding.

    Padded dates are computed and excluded from the mean.

    Args:
        model: Model with the parameters.
        series: Series, (B, T, C, H, W).
        dates: Unused, (B, T), int64.
        valid: Mask of valid dates, (B, T), bool.
    """
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    batch, length = valid.shape
    order = torch.argsort((~valid).to(torch.uint8), dim=1, stable=True)
    series = torch.take_along_dim(series, order[:, :, None, None, None], 1)
    counted = torch.take_along_dim(valid, order, 1)

    maps = _unet(weights, series.flatten(0, 1)).unflatten(0, (batch, length))
    h = c = total = torch.zeros_like(maps[:, 0])
    for step in range(length):
        from_h = _step_norm(weights, "h_norm", _conv(weights, "backbone.lstm.h_conv", h), step)
        from_x = _step_norm(weights, "input_norm", _conv(weights, "backbone.lstm.input_conv", maps[:, step]), step)
        i, f, o, g = (from_h + from_x).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * _step_norm(weights, "cell_norm", torch.tanh(c), step)
        total = total + h * counted[:, step, None, None, None]
    return _conv(weights, "head", total / counted.sum(1)[:, None, None, None])


def _unet(weights: dict[str, Tensor], frames: Tensor) -> Tensor:
    fine = _pair(weights, "down1", frames, 4)
    middle = _pair(weights, "down2", F.max_pool2d(fine, 2), 8)
    coarse = _normed(weights, "down3", 0, F.max_pool2d(middle, 2), 16)
    coarse = _doubled(weights, "up3.3", _normed(weights, "up3", 0, coarse, 16))
    mixed = _doubled(weights, "up2.6", _pair(weights, "up2", torch.cat([coarse, middle], 1)))
    return _conv(weights, "backbone.unet.up1.6", _pair(weights, "up1", torch.cat([mixed, fine], 1)))


def _pair(weights: dict[str, Tensor], name: str, frames: Tensor, groups: int | None = None) -> Tensor:
    return _normed(weights, name, 3, _normed(weights, name, 0, frames, groups), groups)


def _normed(weights: dict[str, Tensor], name: str, index: int, frames: Tensor, groups: int | None) -> Tensor:
    frames = _conv(weights, f"backbone.unet.{name}.{index}", frames)
    norm = f"backbone.unet.{name}.{index + 1}"
    weight, bias = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
    if groups:
        frames = F.group_norm(frames, groups, weight, bias)
    else:
        frames = F.batch_norm(frames, weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"], weight, bias)
    return F.leaky_relu(frames)


def _conv(weights: dict[str, Tensor], name: str, frames: Tensor) -> Tensor:
    return F.conv2d(frames, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)


def _doubled(weights: dict[str, Tensor], name: str, frames: Tensor) -> Tensor:
    name = f"backbone.unet.{name}"
    return F.conv_transpose2d(frames, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=2)


def _step_norm(weights: dict[str, Tensor], name: str, frames: Tensor, step: int) -> Tensor:
    mean, var = weights[f"backbone.lstm.{name}.running_mean"], weights[f"backbone.lstm.{name}.running_var"]
    row = min(step, len(mean) - 1)
    return F.batch_norm(frames, mean[row], var[row], weights[f"backbone.lstm.{name}.weight"])
