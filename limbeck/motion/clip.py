"""All of a clip for one specification: what is recorded, the targets, the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.motion.pose import frame_times
from limbeck.motion.render import Scene, Shot, build_scene, recording_times, render
from limbeck.motion.sensor import perturb, quantise, record
from limbeck.motion.spec import ClipSpec
from limbeck.motion.truth import Flow, Tracks, draw_tracks, flow_between
from limbeck.seeds import rng


@dataclass(frozen=True)
class Clip:
    """A rendered clip. T frames, G gains, N tracks.

    Attributes:
        spec: from which all of it regenerates.
        frames: (T, 3, H, W) uint8, what the sensor recorded.
        clean: (T, 3, H, W) float, the same instants before the sensor.
        magnified: (G, T, 3, H, W) float, clean targets; the camera keeps still in them.
        layer_ids: (T, H, W) uint8.
        forward: flow t -> t + 1, and backward: flow t + 1 -> t; (T - 1, H, W, 2).
        tracks: through all frames.
    """

    spec: ClipSpec
    frames: Tensor
    clean: Tensor
    magnified: Tensor
    layer_ids: Tensor
    forward: Flow
    backward: Flow | None
    tracks: Tracks

    def magnified_uint8(self) -> Tensor:
        """(G, T, 3, H, W) targets rounded to nearest: no dither, no noise."""
        still = self.spec.sensor.model_copy(update={"dither": False})
        return quantise(self.magnified, still)


def make_clip(
    spec: ClipSpec,
    pictures: Mapping[str, Tensor] | None = None,
    tracks: int = 64,
    occlusion: bool = True,
    device: torch.device | str = "cpu",
) -> Clip:
    """Render a specification with its truth.

    Args:
        tracks: how many points to follow.
        occlusion: False leaves out what costs most: occluded pixels and the backward flow.

    Raises:
        ValueError: see `build_scene`.
    """
    return film(build_scene(spec, pictures, device=device), tracks, occlusion)


def film(scene: Scene, tracks: int = 64, occlusion: bool = True) -> Clip:
    """`make_clip` for a scene whose layers are there."""
    spec = scene.clip
    times, recorded = frame_times(spec), recording_times(spec)
    live = Shot(0, times, shaken=True)
    # At time 0 everything is at rest, so the magnified first frame is the first frame, bit for bit.
    shots = [live, *(Shot(0, times[1:], gain) for gain in spec.gains)]
    as_recorded = np.array_equal(recorded, times[:, None, None])
    if not as_recorded:
        shots.append(Shot(0, recorded.reshape(-1, recorded.shape[-1]), shaken=True))
    frames, ids = render([scene], shots)
    sizes = [len(shot.times_s) for shot in shots]
    clean, *rest = frames.split(sizes)
    targets = [perturb(spec, torch.cat([clean[:1], part])) for part in rest[: len(spec.gains)]]
    instants = clean[:, None] if as_recorded else rest[-1].unflatten(0, recorded.shape[:2])
    ids = ids[: spec.frames]
    earlier, later = Shot(0, times[:-1], shaken=True), Shot(0, times[1:], shaken=True)
    forward = flow_between(scene, earlier, later, ids[:-1], occlusion=occlusion)
    return Clip(
        spec=spec,
        frames=record(spec, instants),
        clean=clean,
        magnified=torch.stack(targets) if targets else clean.new_empty((0, *clean.shape)),
        layer_ids=ids,
        forward=forward,
        backward=flow_between(scene, later, earlier, ids[1:]) if occlusion else None,
        tracks=draw_tracks(scene, ids[0], tracks, rng(spec.seed, "motion.tracks", "points")),
    )
