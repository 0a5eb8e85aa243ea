"""Training examples: crops of pairs, turned, flipped and recorded anew, and by how much a magnified one is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.motion.measures import STEPS
from distill.motion.pairs import LIGHT_STEPS, Pair
from limbeck.motion.spec import ClipSpec

if TYPE_CHECKING:
    import torch


def example(
    pair: Pair,
    spec: ClipSpec,
    taught: NDArray[np.uint8] | None,
    rng: np.random.Generator,
    *,
    labelled: bool,
    crop_px: int = 0,
) -> dict[str, Any]:
    """A crop under one of the eight turns and flips, its colours in any order.

    Noise is drawn anew where the light is known and the label may be seen; elsewhere there is one recording only.

    Args:
        pair: its frames.
        spec: its clip's.
        taught: (3, H, W) the teacher's magnified frame at the first gain, or None.
        rng: draws gain, crop, turn, colours and noise.
        labelled: whether the truth may be seen.
        crop_px: side S of the crop; 0 is the frame's shorter one.

    Returns:
        `first`, `second`, `target`, `taught` (3, S, S) float32, zeros where unknown; `gain`; `labelled` and `answered`.
    """
    which = int(rng.integers(len(spec.gains))) if labelled and taught is None else 0
    height, width = pair.recorded.shape[-2:]
    side = crop_px or min(height, width)
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    part = (..., slice(top, top + side), slice(left, left + side))
    flips, colours = rng.random(3) < 0.5, rng.permutation(3)

    def seen(frames: NDArray[Any], steps: int) -> NDArray[np.float32]:
        frames = frames[part][..., colours, :, :].astype(np.float32) / steps
        frames = frames[..., ::-1] if flips[0] else frames
        frames = frames[..., ::-1, :] if flips[1] else frames
        return np.swapaxes(frames, -1, -2) if flips[2] else frames

    if labelled and pair.light is not None:
        first, second = recorded(seen(pair.light, LIGHT_STEPS), spec, rng)
    else:
        first, second = seen(pair.recorded, STEPS)
    target = seen(pair.magnified[which], LIGHT_STEPS)
    return {
        "first": first,
        "second": second,
        "gain": np.float32(spec.gains[which].gain_total),
        "target": target if labelled else np.zeros_like(target),
        "taught": np.zeros_like(target) if taught is None else seen(taught, STEPS),
        "labelled": np.bool_(labelled),
        "answered": np.bool_(taught is not None),
    }


def recorded(light: NDArray[np.float32], spec: ClipSpec, rng: np.random.Generator) -> NDArray[np.float32]:
    """(2, 3, H, W) recorded anew: `limbeck.motion.sensor` with other draws, photons as a Gaussian."""
    sensor = spec.sensor
    if sensor.shot or sensor.read:
        noise = rng.standard_normal(light.shape, np.float32)
        light = light + noise * np.sqrt(sensor.shot * light + sensor.read**2, dtype=np.float32)
    offset = rng.random(light.shape, np.float32) if sensor.dither else np.float32(0.5)
    return np.clip(np.floor(light * STEPS + offset), 0, STEPS) / np.float32(STEPS)


def size(error: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) to (B,): mean absolute value."""
    return error.abs().mean((1, 2, 3))


def edges(error: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) to (B,): mean absolute difference between neighbours, across and down."""
    across = (error[..., 1:] - error[..., :-1]).abs().mean((1, 2, 3))
    return across + (error[..., 1:, :] - error[..., :-1, :]).abs().mean((1, 2, 3))
