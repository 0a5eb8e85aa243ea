"""Cubic B-spline interpolation: the one kernel by which every frame is sampled.

Why this kernel: the gain by which a small shift d of a cosine comes back, recovered / true, is for
d = 0.01 px and periods of 4 and 8 texels .643 and .903 with bilinear or Keys cubic, 1.052 and .964
with Lanczos-3, .955 and .998 with the cubic B-spline. On layers with two texels a pixel a period of
4 px is 8 texels, so the B-spline is within 0.23%, where bilinear needs 12 texels a pixel for 0.2%.
`benchmarks/motion_speed.py --kernels` measures the table.

Source: Unser, Aldroubi and Eden, "B-spline signal processing", 1993.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import spline_filter
from torch import Tensor

TAPS = 4
MARGIN = 3
"""Texels that a layer needs beyond the outermost sampled position."""


def prefilter(texels: Tensor) -> Tensor:
    """Spline coefficients whose interpolation passes through the texels (mirrored at the border).

    Args:
        texels: (C, H, W) float on the CPU, H and W at least 2.

    Returns:
        (C, H, W).
    """
    coefficients = np.empty(texels.shape, texels.numpy().dtype)
    for channel, out in zip(texels.numpy(), coefficients, strict=True):
        if channel.flat[0] == channel.flat[-1] and (channel == channel.flat[0]).all():
            out[...] = channel  # a constant, such as a background's alpha, is its own spline
        else:
            spline_filter(channel, order=3, output=out, mode="mirror")
    return torch.from_numpy(coefficients)


def weights(fraction: Tensor) -> Tensor:
    """(..., 4) B-spline weights of texels -1, 0, 1, 2 around a position `fraction` past texel 0.

    >>> weights(torch.tensor(0.0)) * 6
    tensor([1., 4., 1., 0.])
    """
    t, s = fraction, 1 - fraction
    return torch.stack((s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3), -1) / 6


def sample(
    atlas: Tensor, start: Tensor, height: Tensor, width: Tensor, row: Tensor, column: Tensor, dv: Tensor, du: Tensor
) -> Tensor:
    """Values at any positions of splines that lie one after another in one table.

    Args:
        atlas: (texels, C) coefficients, each spline in row-major order; at most 2**31 texels.
        start, height, width: int32, a spline's first texel and its size. All arguments broadcast.
        row, column: int32, whole texel coordinates.
        dv, du: float, added to row and column; any size. Kept apart so that no bits are lost.

    Returns:
        (..., C). Outside of a spline some value at its rim, which is empty (objects) or never seen (backgrounds).
    """
    floor_v, floor_u = torch.floor(dv), torch.floor(du)
    first_row = torch.minimum((row + floor_v.int() - 1).clamp_min_(0), height - TAPS)
    first_column = torch.minimum((column + floor_u.int() - 1).clamp_min_(0), width - TAPS)
    tap = torch.arange(TAPS, device=row.device, dtype=torch.int32)
    taps = (width[..., None] * tap)[..., :, None] + tap
    index = (start + first_row * width + first_column)[..., None, None] + taps
    weight = weights(dv - floor_v)[..., :, None] * weights(du - floor_u)[..., None, :]
    shape = torch.broadcast_shapes(index.shape, weight.shape)
    count = TAPS * TAPS
    values = F.embedding_bag(
        index.expand(shape).reshape(-1, count),
        atlas,
        mode="sum",
        per_sample_weights=weight.expand(shape).reshape(-1, count),
    )
    return values.reshape(*shape[:-2], atlas.shape[1])


def sample_shifted(
    coefficients: Tensor, row: int, column: int, height: int, width: int, step: int, dv: Tensor, du: Tensor
) -> Tensor:
    """Values on a grid, all shifted alike: the same spline as `sample`, one axis after the other.

    Args:
        coefficients: (h, w, C).
        row, column: texel of the grid's first position, before the shift.
        height, width: of the grid; step: texels from one position to the next.
        dv, du: float scalars, the shift in texels.

    Returns:
        (height, width, C).
    """
    for axis, first, count, shift in ((0, row, height, dv), (1, column, width, du)):
        floor = int(torch.floor(shift))
        begin, length = first + floor - 1, step * (count - 1) + TAPS
        if begin < 0 or begin + length > coefficients.shape[axis]:
            index = torch.arange(begin, begin + length).clamp_(0, coefficients.shape[axis] - 1)
            lines = coefficients.index_select(axis, index)
        else:
            lines = coefficients.narrow(axis, begin, length)
        taps = weights(shift - floor).tolist()
        reach = step * (count - 1) + 1
        parts = [lines[k : k + reach : step] if axis == 0 else lines[:, k : k + reach : step] for k in range(TAPS)]
        coefficients = parts[0] * taps[0]
        for part, weight in zip(parts[1:], taps[1:], strict=True):
            coefficients.add_(part, alpha=weight)
    return coefficients
