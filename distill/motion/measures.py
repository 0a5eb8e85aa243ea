"""Measures of magnified frames against the truth, item by item."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.float32]
"""(N, 3, H, W), display values."""

STEPS = 255


def bin_edges(bins: int) -> tuple[float, ...]:
    """Edges of logarithmic bins of sub-pixel motion, 0.01 to 1 px, to two digits.

    >>> bin_edges(6)
    (0.01, 0.022, 0.046, 0.1, 0.22, 0.46, 1.0)
    """
    return tuple(float(f"{edge:.2g}") for edge in np.geomspace(0.01, 1, bins + 1))


def bin_names(bins: int) -> tuple[str, ...]:
    """Names of the bins, in pixels of the input's motion.

    >>> bin_names(2)
    ('0.01-0.1', '0.1-1')
    """
    return tuple(f"{low:g}-{high:g}" for low, high in pairwise(bin_edges(bins)))


def bin_of(motion_px: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """(N,) number of each clip's bin; -1 where it moves by less or by more, or not at all.

    >>> bin_of(np.array([0.0, 0.01, 0.05, 0.99, 1.0]), 6).tolist()
    [-1, 0, 2, 5, -1]
    """
    found = np.searchsorted(bin_edges(bins), motion_px, side="right") - 1
    return np.where(found >= bins, -1, found)


def ssim(shown: Frames, target: Frames) -> NDArray[np.float64]:
    """(N,) structural similarity of each frame with its target, both clipped to [0, 1].

    Source: Wang et al. 2004, Gaussian window of 1.5 px (11 px wide), K = (0.01, 0.03); the outer 5 px, which the
    window leaves, are not counted.
    """
    from skimage.metrics import structural_similarity

    found = []
    for pair in zip(shown, target, strict=True):
        one, other = (np.clip(frame, 0, 1).transpose(1, 2, 0).astype(np.float64) for frame in pair)
        found.append(
            structural_similarity(
                one,
                other,
                channel_axis=2,
                data_range=1.0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        )
    return np.array(found)


def leakage(shown: Frames, target: Frames, still: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) what appears where nothing moves: RMS difference from the target there, in grey levels (1 / 255).

    Args:
        shown: (N, 3, H, W).
        target: (N, 3, H, W), clean.
        still: (N, H, W), where nothing moves in the input or the target.

    Returns:
        NaN where there is no such pixel.
    """
    error = (np.clip(shown, 0, 1) - target).astype(np.float64) ** 2
    count = still.sum((1, 2))
    total = (error.mean(1) * still).sum((1, 2))
    return np.where(count > 0, STEPS * np.sqrt(total / np.maximum(count, 1)), np.nan)


def shown_gain(shown: NDArray[np.float32], ladder: Frames, shares: NDArray[np.float64]) -> float:
    """Which share of the asked gain a magnified frame shows: that of the rendering it is nearest to.

    Args:
        shown: (3, H, W).
        ladder: (K, 3, H, W), the same clip rendered at `shares` of the asked gain, all else equal.
        shares: (K,), rising.

    Returns:
        1 for a perfect magnifier, 0.5 for one that shows half; between rungs by a parabola through three.
    """
    inner = (slice(None), slice(4, -4), slice(4, -4))  # what enters at the rim can't be known
    errors = np.array(
        [np.square(np.clip(shown, 0, 1)[inner] - rung[inner], dtype=np.float64).mean() for rung in ladder]
    )
    best = int(errors.argmin())
    if best in (0, len(shares) - 1):
        return float(shares[best])
    x, y = shares[best - 1 : best + 2], errors[best - 1 : best + 2]
    curve, slope, _ = np.polyfit(x, y, 2)
    return float(np.clip(-slope / (2 * curve), x[0], x[2])) if curve > 0 else float(shares[best])
