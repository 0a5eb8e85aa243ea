"""Other ways to magnify, to be compared with: hand the frame back, amplify differences, amplify phases, know the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distill.motion.plaids import Magnify
from limbeck.motion.spec import ClipSpec, Gain

INPUT, LINEAR, PHASE, WARP = "input", "linear", "phase-based", "true warp"
RIVALS = (LINEAR, PHASE)
"""What a student has to be ahead of."""


def hand_back(
    first: NDArray[np.float32], second: NDArray[np.float32], gains: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The second frame, unchanged: the floor."""
    return second


def linear(first: NDArray[np.float32], second: NDArray[np.float32], gains: NDArray[np.float32]) -> NDArray[np.float32]:
    """`limbeck.motion.eulerian`, pair by pair."""
    from limbeck.motion.eulerian import magnify_linear

    return _pairwise(magnify_linear, first, second, gains)


def phase_based(
    first: NDArray[np.float32], second: NDArray[np.float32], gains: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`limbeck.motion.phase_based`, pair by pair."""
    from limbeck.motion.phase_based import magnify_phase

    return _pairwise(magnify_phase, first, second, gains)


METHODS: dict[str, Magnify] = {INPUT: hand_back, LINEAR: linear, PHASE: phase_based}


def _pairwise(magnify: Callable, first, second, gains) -> NDArray[np.float32]:
    import torch

    found = []
    with torch.inference_mode():
        for a, b, gain in zip(first, second, gains, strict=True):
            found.append(magnify(torch.from_numpy(np.stack([a, b])), float(gain))[1].numpy())
    return np.stack(found)


def true_warp(spec: ClipSpec, gain: Gain, frame: int) -> NDArray[np.float32]:
    """(3, H, W): the clean first frame taken along the true flow to the magnified frame; the ceiling.

    It can't show what is uncovered, nor a change of colour.
    """
    import torch
    from scipy.ndimage import map_coordinates

    from limbeck.motion.pose import frame_times
    from limbeck.motion.render import Shot, build_scene, render
    from limbeck.motion.truth import flow_between

    scene, times = build_scene(spec), frame_times(spec)
    start, far = Shot(0, times[:1], shaken=True), Shot(0, times[frame : frame + 1], gain)
    with torch.inference_mode():
        frames, ids = render([scene], [start, far])
        back = flow_between(scene, far, start, ids[1:], torch.float64, occlusion=False).flow[0].numpy()
    y, x = np.mgrid[: spec.height_px, : spec.width_px].astype(float)
    at = [y + back[..., 1], x + back[..., 0]]
    return np.stack([map_coordinates(channel.numpy(), at, order=3, mode="nearest") for channel in frames[0]])


def ladder(spec: ClipSpec, gain: Gain, frame: int, shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """(K, 3, H, W) magnified frames at shares of a gain, clean, all else equal; see `measures.shown_gain`."""
    import torch

    from limbeck.motion.pose import frame_times
    from limbeck.motion.render import Shot, build_scene, render
    from limbeck.motion.sensor import perturb

    times = frame_times(spec)[frame : frame + 1]
    rungs = [gain.model_copy(update={"gain_total": float(share) * gain.gain_total}) for share in shares]
    widest = max(rungs, key=lambda rung: rung.gain_total)
    room = spec.model_copy(update={"gains": (widest,), "bound_px": spec.bound_px * max(1.0, float(shares[-1]))})
    with torch.inference_mode():
        frames, _ = render([build_scene(room)], [Shot(0, times, rung) for rung in rungs])
    return perturb(spec, frames, first=0).numpy()
