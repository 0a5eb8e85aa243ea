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

from limbeck.motion.boxes import material_box, seen_boxes
from limbeck.motion.pose import Pose, frame_times, layer_pose, since_rest
from limbeck.motion.spec import ClipSpec, Gain
from limbeck.motion.spline import MARGIN, sample
from limbeck.motion.textures import Canvas, make_canvas

CHUNK_PX = {"cpu": 1 << 15, "cuda": 1 << 22}


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
        for canvases, pose, at, tint in _groups(scenes, shots, starts, depth):
            for window in _windows(canvases, pose, at, tint, height, width, whole=depth == 0, device=like.device):
                _paint(window, frames, ids, depth)
    return frames.permute(0, 3, 1, 2), ids


def _groups(scenes, shots, starts, depth: int) -> Iterator[tuple[list[Canvas], Pose, np.ndarray, np.ndarray]]:
    """Layers of one depth that can be painted together: (canvas a window, pose, frame index, tint)."""
    together: dict[int, list] = {}
    for start, shot in zip(starts, shots):
        scene = scenes[shot.scene]
        if depth >= len(scene.canvases):
            continue
        pose = layer_pose(scene.clip, depth, shot.times_s, shot.gain, shot.shaken)
        canvases = [scene.canvases[depth]] * len(shot.times_s)
        tint = _tint(scene.clip, depth, shot)
        at = start + np.arange(len(shot.times_s))
        if pose.is_affine:
            together.setdefault(pose.rigid.shape[1], []).append((canvases, pose, at, tint))
        else:
            yield canvases, pose, at, tint
    for parts in together.values():
        yield (
            [canvas for part in parts for canvas in part[0]],
            Pose(np.concatenate([part[1].rigid for part in parts]), np.concatenate([part[1].camera for part in parts])),
            np.concatenate([part[2] for part in parts]),
            np.concatenate([part[3] for part in parts]),
        )


def _tint(clip: ClipSpec, depth: int, shot: Shot) -> np.ndarray:
    """(J, R, 3): factor on the layer's colour at each instant."""
    times = np.atleast_1d(shot.times_s)
    times = times[:, None] if times.ndim == 1 else times
    pulse = clip.layers[depth].pulse
    if pulse is None:
        return np.ones((*times.shape, 3))
    total = 1.0 if shot.gain is None else shot.gain.of_layer(depth)
    return 1 + total * pulse.amplitude * since_rest(pulse.waveform, times)[..., None] * np.asarray(pulse.rgb)


@dataclass(frozen=True)
class _Window:
    """B windows of one size: pixel coordinates and everything that sampling them needs."""

    frame: Tensor
    row: Tensor
    column: Tensor
    values: Tensor
    tint: Tensor


def _windows(canvases, pose: Pose, at, tint, height: int, width: int, whole: bool, device) -> Iterator[_Window]:
    """Sampled windows, in chunks that fit the cache."""
    if whole:
        lefts = tops = np.zeros(len(at), np.int64)
        tall, wide = height, width
    else:
        boxes = np.concatenate([
            seen_boxes(pose.take(slice(j, j + 1)), canvas.box) for j, canvas in enumerate(canvases)
        ]) if len({canvas.box for canvas in canvases}) > 1 else seen_boxes(pose, canvases[0].box)  # fmt: skip
        low, high = np.floor(boxes[:, :2]).astype(np.int64), np.ceil(boxes[:, 2:]).astype(np.int64)
        wide, tall = np.minimum((high - low).max(0) + 1, (width, height)).tolist()
        lefts, tops = np.clip(low[:, 0], 0, width - wide), np.clip(low[:, 1], 0, height - tall)
    atlas, firsts = _atlas(canvases)
    facts = {
        "start": firsts,
        "height": [canvas.coefficients.shape[0] for canvas in canvases],
        "width": [canvas.coefficients.shape[1] for canvas in canvases],
        "left": [canvas.origin[0] for canvas in canvases],
        "top": [canvas.origin[1] for canvas in canvases],
    }
    facts = {key: torch.as_tensor(np.asarray(value), device=device)[:, None, None] for key, value in facts.items()}
    factor = canvases[0].oversampling
    limit = CHUNK_PX.get(atlas.device.type, CHUNK_PX["cpu"])
    many = max(1, limit // (tall * wide))
    band = max(1, min(tall, limit // wide))
    for j in range(0, len(at), many):
        part = slice(j, j + many)
        taken, frame = pose.take(part), torch.as_tensor(at[part], device=device)[:, None, None]
        for y in range(0, tall, band):
            row = torch.as_tensor(tops[part], device=device)[:, None, None] + torch.arange(
                y, min(y + band, tall), device=device
            )[None, :, None]
            column = torch.as_tensor(lefts[part], device=device)[:, None, None] + torch.arange(wide, device=device)
            vx, vy = taken.backward(column.to(atlas.dtype), row.to(atlas.dtype), row)
            shape = torch.broadcast_shapes(vx.shape, row.shape, column.shape)
            values = sample(
                atlas,
                facts["start"][part].expand(shape),
                facts["height"][part].expand(shape),
                facts["width"][part].expand(shape),
                ((row - facts["top"][part]) * factor + MARGIN).expand(shape),
                ((column - facts["left"][part]) * factor + MARGIN).expand(shape),
                (vy * factor).expand(shape),
                (vx * factor).expand(shape),
            )
            colour = torch.as_tensor(tint[part], dtype=atlas.dtype, device=device)
            colour = colour[:, :, None] if colour.shape[1] == 1 else colour[
                torch.arange(colour.shape[0], device=device)[:, None, None], row
            ]
            yield _Window(frame, row, column, values, colour)


def _atlas(canvases: Sequence[Canvas]) -> tuple[Tensor, list[int]]:
    """All distinct splines one after another, and where each window's begins."""
    where, tables, size = {}, [], 0
    for canvas in canvases:
        if id(canvas) not in where:
            where[id(canvas)] = size
            tables.append(canvas.coefficients.flatten(0, 1))
            size += len(tables[-1])
    return (tables[0] if len(tables) == 1 else torch.cat(tables)), [where[id(canvas)] for canvas in canvases]


def _paint(window: _Window, frames: Tensor, ids: Tensor, depth: int) -> None:
    """Premultiplied `over` into the frames, in place."""
    colour, alpha = window.values[..., :3] * window.tint, window.values[..., 3:]
    index = (window.frame, window.row, window.column)
    if depth == 0:
        frames[index] = colour
        return
    frames[index] = colour + (1 - alpha) * frames[index]
    ids[index] = torch.where(alpha[..., 0] >= 0.5, depth, ids[index].long()).to(torch.uint8)
