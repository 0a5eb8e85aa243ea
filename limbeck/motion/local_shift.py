"""Local shifts between two frames, far below a pixel, by least squares over windows of several sizes.

A shift d changes brightness by `-gradient . d`, so over a window d = -(sum G G^T)^-1 sum G * change: a local phase, in
pixels. With derivative filters that belong to their smoothing filter the answer is unbiased for what is smooth, and
averaging over windows beats noise and 8-bit steps down to 0.01 px. No window is right everywhere (small ones are noisy,
large ones mix things that move differently), so all of them are given, with how far each can be trusted.

Source: Lucas and Kanade, "An iterative image registration technique", 1981; gradients at the middle of the two frames,
which removes the error of first order in d, and smoothing before both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMA_PX = 1.0
_CONTRAST = 8.0
"""Frames are scaled by this, so that squares of small changes stay clear of float16's smallest numbers."""
_FLOOR = 1e-4
"""Added to the squared gradients: what has no texture has no shift."""
_LEAST = 1e-8


def smoothing(sigma_px: float = SIGMA_PX, radius: int = 3) -> tuple[Tensor, Tensor]:
    """A Gaussian that sums to one, and its derivative that measures a ramp's slope exactly; to be correlated with.

    >>> smooth, slope = smoothing()
    >>> at = torch.arange(-3, 4)
    >>> round(float(smooth.sum()), 6), round(float((at * slope).sum()), 6)
    (1.0, 1.0)
    """
    at = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = torch.exp(-(at**2) / (2 * sigma_px**2))
    return (bell / bell.sum()).float(), (at * bell / (at**2 * bell).sum()).float()


_SMOOTH, _SLOPE = smoothing()  # made here: a tensor made while a model is exported would belong to the export


def correlate(frames: Tensor, along_x: Tensor, along_y: Tensor) -> Tensor:
    """Separable filter of odd lengths, the same for every channel, borders repeated; (B, C, H, W) to the same."""
    rx, ry = len(along_x) // 2, len(along_y) // 2
    channels = frames.shape[1]
    wide = F.pad(frames, (rx, rx, ry, ry), mode="replicate")
    rows = F.conv2d(wide, along_x.to(frames).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, along_y.to(frames)[:, None].expand(channels, 1, -1, 1), groups=channels)


def local_shifts(first: Tensor, second: Tensor, windows: Sequence[int], cell_px: int = 4) -> tuple[Tensor, Tensor]:
    """Shifts from the first frame to the second, one for each window and cell.

    Args:
        first: (B, 3, H, W) in [0, 1]; sides are multiples of the cell and of 2 ** (len(windows) - 1).
        second: as the first.
        windows: how many windows at each scale of the frames: full size, half, quarter, ...; the first is 3 cells wide,
            every further one twice as wide, less one; from a quarter on, the first is wider.
        cell_px: side of a cell.

    Returns:
        shifts: (B, K, 2, H / cell, W / cell) px along (x, y); K is the sum of `windows`.
        trust: (B, K, 3, H / cell, W / cell) logarithms of: squared gradient; its smaller part, across which a shift is
            hard to see; squared change that the shift does not explain.
    """
    change, mean = (second - first) * _CONTRAST, (first + second) * (_CONTRAST / 2)
    shifts, trust = [], []
    for level, count in enumerate(windows):
        if level:
            change, mean = F.avg_pool2d(change, 2), F.avg_pool2d(mean, 2)
        if not count:
            continue
        gx, gy = correlate(mean, _SLOPE, _SMOOTH), correlate(mean, _SMOOTH, _SLOPE)
        ct = correlate(change, _SMOOTH, _SMOOTH)
        products = torch.stack([gx * gx, gx * gy, gy * gy, gx * ct, gy * ct, ct * ct], 1).sum(2)
        cells = _by_cell(products, cell_px, 2**level)
        for window in range(count):
            reach = 2 ** (window + max(0, level - 1))
            sums = F.avg_pool2d(cells, 2 * reach + 1, 1, reach)  # nothing lies beyond the border
            shift, facts = _solved(sums)
            shifts.append(shift * 2**level)
            trust.append(facts)
    return torch.stack(shifts, 1), torch.stack(trust, 1)


def _by_cell(products: Tensor, cell_px: int, scale: int) -> Tensor:
    """Means over cells, of products at a scale of the frames."""
    if scale < cell_px:
        return F.avg_pool2d(products, cell_px // scale)
    return (
        F.interpolate(products, scale_factor=float(scale // cell_px), mode="nearest") if scale > cell_px else products
    )


def _solved(sums: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 6, h, w) sums of products to shifts (B, 2, h, w) and what they can be trusted by (B, 3, h, w)."""
    xx, xy, yy, xt, yt, tt = sums.unbind(1)
    xx, yy = xx + _FLOOR, yy + _FLOOR
    det = xx * yy - xy * xy
    dx, dy = (xy * yt - yy * xt) / det, (xy * xt - xx * yt) / det
    left = tt + dx * xt + dy * yt
    trace = xx + yy
    facts = torch.stack([trace, (det / trace).clamp_min(_LEAST), left.clamp_min(_LEAST)], 1).log()
    return torch.stack([dx, dy], 1), facts
