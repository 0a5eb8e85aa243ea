"""Linear Eulerian motion magnification, the first baseline: amplify what changes at each pixel.

Source: Wu et al., "Eulerian video magnification for revealing subtle changes in the world", 2012,
equation 4, without temporal filter (or with the caller's).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor


def magnify_linear(frames: Tensor, gain_total: float, temporal: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """`first + (frame - first)`, with the difference multiplied by `gain_total`.

    Args:
        frames: (T, 3, H, W) float.
        temporal: filter along time of the difference, such as a band-pass.

    Returns:
        (T, 3, H, W), not clipped.
    """
    change = frames - frames[:1]
    if temporal is None:
        return frames[:1] + gain_total * change
    return frames + (gain_total - 1) * temporal(change)


def grating_gain(total_shift_px: float, period_px: float) -> float:
    """By which factor linear magnification falls short on a cosine, in the limit of large gain.

    The output is `cos(p) + z sin(p)` with z the wanted phase, so the phase shown is arctan(z).

    >>> [round(grating_gain(1 / n, 1.0), 3) for n in (16, 8, 4, 2)]
    [0.953, 0.848, 0.639, 0.402]
    """
    wanted = 2 * math.pi * total_shift_px / period_px
    return math.atan(wanted) / wanted if wanted else 1.0
