"""Checks of a stored clip against its own specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates, maximum_filter, minimum_filter
from torch import Tensor

from limbeck.motion.pose import frame_times, layer_pose
from limbeck.motion.render import Scene, Shot, build_scene, render
from limbeck.motion.spec import ClipSpec
from limbeck.motion.storage import decode, decode_part
from limbeck.motion.truth import flow_between, layer_rgba

_LEAST_CHANGE = 1e-5
"""Root mean square change of brightness, in [0, 1], below which two frames are the same for float32 textures."""


def measure_pair(row: Mapping[str, Any], pictures: Mapping[str, Tensor] | None = None) -> dict[str, float | None]:
    """Compares the first pair of a stored clip with a rendering from its specification.

    Returns:
        flow_error_px, frame_error, consistency_px and zero_flow_ratio as `filters.motion_exact` explains them; None
        where there is nothing to compare.

    Raises:
        ValueError: a column can't be read, or the specification can't be rendered.
    """
    spec = ClipSpec.model_validate_json(row["clip_spec"])
    if spec.frames < 2:
        return {"flow_error_px": 0.0, "frame_error": 0.0, "consistency_px": None, "zero_flow_ratio": None}
    forward = decode_part(row["flow_forward"], 0).astype(np.float64)
    backward = decode_part(row["flow_backward"], 0).astype(np.float64)
    ids = decode(row["layer_ids"])
    if forward.shape != (spec.height_px, spec.width_px, 2):
        raise ValueError(
            f"flow_forward is {forward.shape}, the specification says {(spec.height_px, spec.width_px, 2)}"
        )
    scene = build_scene(spec, pictures)
    times = frame_times(spec)
    here, there = Shot(0, times[:1], shaken=True), Shot(0, times[1:2], shaken=True)
    shots = [here, there, *(Shot(0, times[1:2], gain) for gain in spec.gains)]
    frames, rendered_ids = render([scene], shots)
    truth = flow_between(scene, here, there, rendered_ids[:1], torch.float64)
    inside = _inside_layers(ids[0]) & ~(truth.occluded[0] | truth.outside[0]).numpy()
    frame_error = 0.0
    if spec.gains and spec.perturbation == ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0)):
        stored = decode(row["magnified_frames"])[:, 1]
        frame_error = float(np.abs(stored - frames[2:].movedim(1, -1).clamp(0, 1).numpy() * 255).max())
    calm = inside & _lands_inside(forward, ids[1])
    without, with_flow = (_mismatch(scene, here, there, flow, calm) for flow in (0 * forward, forward))
    return {
        "flow_error_px": float(np.abs(forward - truth.flow[0].numpy()).max()),
        "frame_error": frame_error,
        "consistency_px": _consistency_px(forward, backward, calm),
        "zero_flow_ratio": without / max(with_flow, 1e-9) if without > _LEAST_CHANGE else None,
    }


def _inside_layers(ids: np.ndarray, reach: int = 7) -> np.ndarray:
    """Pixels that no outline and no border is near."""
    same = minimum_filter(ids, reach, mode="nearest") == maximum_filter(ids, reach, mode="nearest")
    half = reach // 2
    same[:half], same[-half:], same[:, :half], same[:, -half:] = False, False, False, False
    return same


def _lands_inside(flow: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Pixels that the flow takes to where no outline and no border of the next frame is near: soft edges mix layers."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float64)
    at = [y + flow[..., 1], x + flow[..., 0]]
    return map_coordinates(_inside_layers(ids).astype(float), at, order=1, mode="constant") > 0.999


def _mismatch(scene: Scene, here: Shot, there: Shot, flow: np.ndarray, where: np.ndarray) -> float:
    """Root mean square difference between what is seen at x in one frame and at x + flow in the other.

    Both are looked up in the continuous scene, so that no interpolation of frames blurs the comparison. Colour pulses
    are left out.
    """
    if not where.any():
        return 0.0
    y, x = (torch.from_numpy(part.astype(np.float64)) for part in np.nonzero(where))
    step = torch.from_numpy(flow[where])
    first = scene_at(scene, here, x[None], y[None])
    second = scene_at(scene, there, (x + step[:, 0])[None], (y + step[:, 1])[None])
    return float((first - second).square().mean().sqrt())


def scene_at(scene: Scene, shot: Shot, x: Tensor, y: Tensor) -> Tensor:
    """(J, ..., 3) colour of the continuous scene at positions (J, ...), pulses apart."""
    colour = torch.zeros((*x.shape, 3), dtype=x.dtype)
    for depth in range(len(scene.canvases)):
        pose = layer_pose(scene.clip, depth, shot.times_s, shot.gain, shot.shaken)
        rgba = layer_rgba(scene, depth, pose, x, y)
        colour = rgba[..., :3] + (1 - rgba[..., 3:]) * colour
    return colour


def _consistency_px(forward: np.ndarray, backward: np.ndarray, where: np.ndarray) -> float | None:
    """Largest `|F(x) + B(x + F(x))|` off outlines, in both frames."""
    y, x = np.mgrid[: forward.shape[0], : forward.shape[1]].astype(np.float64)
    at = [y + forward[..., 1], x + forward[..., 0]]
    back = np.stack([map_coordinates(backward[..., axis], at, order=1, mode="nearest") for axis in (0, 1)], -1)
    error = np.hypot(*np.moveaxis(forward + back, -1, 0))[where]
    return float(error.max()) if error.size else None
