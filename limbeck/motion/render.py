"""Layers and maps -> frames. Every frame, input or magnified, samples the same layers once.

Layers are painted from far to near into all frames at once; an object touches only the window in
which it is seen. Rigid layers of many clips share one call, so that a GPU is kept busy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.motion.boxes import material_box
from limbeck.motion.paint import Stroke, paint
from limbeck.motion.pose import frame_times, layer_pose, since_rest
from limbeck.motion.spec import ClipSpec, Gain
from limbeck.motion.textures import Canvas, make_canvas


@dataclass(frozen=True)
class Scene:
    """A clip with its layers' splines."""

    clip: ClipSpec
    canvases: tuple[Canvas, ...]


@dataclass(frozen=True)
class Shot:
    """J frames to render of one scene.

    Attributes:
        scene: index into the scenes.
        times_s: (J,) instants, or (J, H) instants of every row.
        gain: None renders the input.
        shaken: whether the camera shakes.
    """

    scene: int
    times_s: np.ndarray
    gain: Gain | None = None
    shaken: bool = False


def build_scene(
    clip: ClipSpec,
    pictures: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Scene:
    """Make a clip's layers.

    Raises:
        ValueError: a picture does not fit, or a gain exceeds the clip's bound or folds a layer.
    """
    from limbeck.motion.gain import check_gains

    check_gains(clip)
    frame = (0, 0, clip.width_px - 1, clip.height_px - 1)
    boxes = [material_box(layer_pose(clip, 0, shot.times_s, shot.gain, shot.shaken), frame) for shot in all_shots(clip)]
    reach = max(max(-left, -top, right - frame[2], bottom - frame[3]) for left, top, right, bottom in boxes)
    canvases = []
    for index in range(len(clip.layers)):
        canvas = make_canvas(clip, index, reach, pictures or {}, dtype)
        canvases.append(Canvas(canvas.coefficients.to(device), canvas.origin, canvas.box, canvas.oversampling))
    return Scene(clip, tuple(canvases))


def recording_times(clip: ClipSpec) -> np.ndarray:
    """(T, S, R) float64: instants that the sensor averages for every frame and row."""
    sensor = clip.sensor
    samples = sensor.exposure_samples if sensor.exposure_s > 0 else 1
    within = (np.arange(samples) + 0.5) / samples - 0.5
    rows = (np.arange(clip.height_px) + 0.5) / clip.height_px - 0.5 if sensor.readout_s > 0 else np.zeros(1)
    return (
        frame_times(clip)[:, None, None]
        + sensor.exposure_s * within[None, :, None]
        + sensor.readout_s * rows[None, None, :]
    )


def all_shots(clip: ClipSpec, scene: int = 0) -> list[Shot]:
    """Every shot that a clip may need: recorded input, clean input, one target a gain."""
    times = frame_times(clip)
    recorded = recording_times(clip)
    return [
        Shot(scene, recorded.reshape(-1, recorded.shape[-1]), shaken=True),
        Shot(scene, times, shaken=True),
        *(Shot(scene, times, gain) for gain in clip.gains),
    ]


def render(scenes: Sequence[Scene], shots: Sequence[Shot]) -> tuple[Tensor, Tensor]:
    """Render shots, in the dtype and on the device of the scenes' layers.

    Returns:
        frames: (sum of J, 3, H, W), clean: not clipped, no noise.
        layer_ids: (sum of J, H, W) uint8, the nearest layer whose alpha is at least one half.
    """
    first = scenes[0]
    height, width = first.clip.height_px, first.clip.width_px
    like = first.canvases[0].coefficients
    starts = np.cumsum([0] + [len(shot.times_s) for shot in shots])
    frames = like.new_empty((starts[-1], height, width, 3))
    ids = torch.zeros((starts[-1], height, width), dtype=torch.uint8, device=like.device)
    for depth in range(max(len(scene.canvases) for scene in scenes)):
        for stroke in _strokes(scenes, shots, starts, depth):
            paint(stroke, frames, ids)
    return frames.permute(0, 3, 1, 2), ids


def _strokes(scenes: Sequence[Scene], shots: Sequence[Shot], starts: np.ndarray, depth: int) -> Iterator[Stroke]:
    """Layers of one depth, those together that can be painted together."""
    together: dict[tuple[int, bool], list[Stroke]] = {}
    for start, shot in zip(starts[:-1], shots, strict=True):
        scene = scenes[shot.scene]
        if depth >= len(scene.canvases) or len(shot.times_s) == 0:
            continue
        pose = layer_pose(scene.clip, depth, shot.times_s, shot.gain, shot.shaken)
        canvases = [scene.canvases[depth]] * len(shot.times_s)
        tint = _tint(scene.clip, depth, shot)
        at = start + np.arange(len(shot.times_s))
        shifts = _only_shifts(scene.clip, depth) and pose.rigid.shape[1] == 1
        stroke = Stroke(depth, canvases, pose, at, tint, shifts)
        if pose.is_affine:
            together.setdefault((pose.rigid.shape[1], shifts), []).append(stroke)
        else:
            yield stroke
    for parts in together.values():
        yield parts[0] if len(parts) == 1 else Stroke.joined(parts)


def _only_shifts(clip: ClipSpec, depth: int) -> bool:
    """Whether a layer can only translate: by its kinds of motion, not by their size at some instant."""
    return all(motion.kind == "translation" for motion in (*clip.layers[depth].motions, *clip.shake))


def _tint(clip: ClipSpec, depth: int, shot: Shot) -> np.ndarray:
    """(J, R, 3): factor on the layer's colour at each instant."""
    times = np.atleast_1d(shot.times_s)
    times = times[:, None] if times.ndim == 1 else times
    pulse = clip.layers[depth].pulse
    if pulse is None:
        return np.ones((*times.shape, 3))
    total = 1.0 if shot.gain is None else shot.gain.of_layer(depth)
    return 1 + total * pulse.amplitude * since_rest(pulse.waveform, times)[..., None] * np.asarray(pulse.rgb)
