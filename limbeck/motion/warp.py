"""Frames looked up between their pixels, through cubic B-splines: a kernel that neither smears nor rings much.

Half a pixel away a wave of 4 px keeps 97% of its contrast (Catmull-Rom: 88%, bilinear: 71%). Written with gathers and
sums alone, so that every runtime has it; positions are a whole and a fractional part, so that half precision suffices.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.motion.local_shift import correlate

MARGIN = 6
"""Pixels around a frame for which coefficients are kept; the inverse filter reaches as far."""
_POLE = math.sqrt(3) - 2
_INVERSE = _POLE ** torch.arange(-MARGIN, MARGIN + 1, dtype=torch.float64).abs()
_INVERSE = (_INVERSE / _INVERSE.sum()).float()
_SPLINE = torch.tensor([1 / 6, 4 / 6, 1 / 6])


def moved(frames: Tensor, displacement: Tensor) -> Tensor:
    """Frames as they look when everything has moved by a displacement; none moved by nothing changes.

    Args:
        frames: (B, C, H, W).
        displacement: (B, 2, H, W) px along (x, y), at the pixels of the result. Beyond the border it is repeated.
    """
    coefficients = spline(frames)
    inner = slice(MARGIN, -MARGIN)
    missed = frames - correlate(coefficients, _SPLINE, _SPLINE)[..., inner, inner]  # of the order of 1e-4
    return displaced(coefficients, displacement) + missed


def spline(frames: Tensor) -> Tensor:
    """Coefficients of the B-spline through all pixels and a margin of repeated ones: (B, C, H + 12, W + 12)."""
    return correlate(F.pad(frames, (MARGIN,) * 4, mode="replicate"), _INVERSE, _INVERSE)


def displaced(coefficients: Tensor, displacement: Tensor) -> Tensor:
    """What is seen at x when everything has moved by a displacement: the spline's value at `x - displacement(x)`.

    Args:
        coefficients: (B, C, H + 12, W + 12), of `spline`.
        displacement: (B, 2, H, W) px along (x, y).

    Returns:
        (B, C, H, W).
    """
    batch, channels, high, wide = coefficients.shape
    height, width = displacement.shape[-2:]
    whole = torch.floor(-displacement)
    across, down = _weights(-displacement - whole).unbind(2)  # (B, 4, H, W) each
    near = torch.arange(MARGIN - 1, MARGIN + 3, device=coefficients.device)[:, None, None]
    column = torch.arange(width, device=coefficients.device) + whole[:, 0:1].long() + near
    row = torch.arange(height, device=coefficients.device)[:, None] + whole[:, 1:2].long() + near
    at = row.clamp(0, high - 1)[:, :, None] * wide + column.clamp(0, wide - 1)[:, None]  # (B, 4, 4, H, W)
    flat = at.reshape(batch, 1, -1).expand(-1, channels, -1)
    values = coefficients.flatten(2).gather(2, flat).reshape(batch, channels, 4, 4, height, width)
    lines = (values * across[:, None, None]).sum(3)
    return (lines * down[:, None]).sum(2)


def _weights(t: Tensor) -> Tensor:
    """(B, 2, H, W) in [0, 1), past the second of the four nearest coefficients -> (B, 4, 2, H, W)."""
    t2, t3 = t * t, t * t * t
    return torch.stack(
        [(1 - 3 * t + 3 * t2 - t3) / 6, (4 - 6 * t2 + 3 * t3) / 6, (1 + 3 * t + 3 * t2 - 3 * t3) / 6, t3 / 6], 1
    )
