"""Every pose of a batch in one table, worked out for all layers of all frames together.

The same algebra as `pose.layer_pose`, `boxes.seen_boxes` and `paint._windows`, on arrays over (frame, layer)
instead of one layer at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import SettingError
from limbeck.motion.pose import _compose, _inverse, since_rest
from limbeck.motion.render import Shot
from limbeck.motion.spec import ClipSpec
from limbeck.motion.waveforms import Ramp

WORDS = 9
_KINDS = {"translation": 0, "rotation": 1, "scaling": 2}


@dataclass(frozen=True)
class OnDevice:
    """A table's numbers where they are used.

    Attributes:
        floats: (F, L, 9) float32: backward map minus identity (2 x 3), tint (3).
        ints: (F, L, 9) int32: window (left, top, right, bottom; the last two excluded), first texel, height, width,
            origin x, origin y.
        maps: (P, L, 6) float32: flow of a layer as an affine function of the pixel.
        pair: (F,) int32: the pair that starts in a frame, or -1.
        height, width: of the frames.
    """

    floats: Tensor
    ints: Tensor
    maps: Tensor
    pair: Tensor
    height: int
    width: int


@dataclass(frozen=True)
class Table:
    """Where every layer of every frame is, on the host, in one piece of memory.

    Attributes:
        packed: float32 words of what `OnDevice` names, one after another.
        windows: (F, L, 4) int32.
        sources: (P,) int64, frames whose flow is asked for; no frame twice.
        count, layers, height, width: F, L and the frames' size.
    """

    packed: np.ndarray
    windows: np.ndarray
    sources: np.ndarray
    count: int
    layers: int
    height: int
    width: int

    def on(self, device: torch.device) -> OnDevice:
        """One transfer, that the host does not wait for."""
        words = torch.from_numpy(self.packed)
        if device.type == "cuda":
            words = words.pin_memory().to(device, non_blocking=True)
        size, pairs = self.count * self.layers * WORDS, len(self.sources)
        floats, ints, maps, pair = words.split([size, size, pairs * self.layers * 6, self.count])
        return OnDevice(
            floats.view(self.count, self.layers, WORDS),
            ints.view(torch.int32).view(self.count, self.layers, WORDS),
            maps.view(pairs, self.layers, 6),
            pair.view(torch.int32),
            self.height,
            self.width,
        )


def tabulate(
    clips: Sequence[ClipSpec], layout: np.ndarray, boxes: np.ndarray, shots: Sequence[Shot], pairs: np.ndarray = ()
) -> Table:
    """The table of shots.

    Args:
        layout, boxes: of the clips' layers, see `batch.Bank`.
        pairs: (P, 2) frames between which flow is asked for, of one clip each.

    Raises:
        SettingError: a clip bends, or has a gain map in space or a rolling shutter.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    lengths = [len(shot.times_s) for shot in shots]
    count, layers = sum(lengths), layout.shape[1]
    height, width = clips[0].height_px, clips[0].width_px
    scene = np.repeat([shot.scene for shot in shots], lengths)
    whole, tint = _poses(clips, shots, np.cumsum([0, *lengths[:-1]]), count, layers)
    back = _inverse(whole)
    size = count * layers * WORDS
    packed = np.empty(2 * size + len(pairs) * layers * 6 + count, np.float32)
    floats = packed[:size].reshape(count, layers, WORDS)
    floats[..., :6], floats[..., 6:] = back.reshape(count, layers, 6), tint
    ints = packed[size : 2 * size].view(np.int32).reshape(count, layers, WORDS)
    ints[..., :4], ints[..., 4:] = _windows(whole, boxes[scene], layout[scene, :, 1] > 0, height, width), layout[scene]
    packed[2 * size : -count] = _compose(whole[pairs[:, 1]], back[pairs[:, 0]]).ravel()
    pair = packed[-count:].view(np.int32)
    pair[:] = -1
    pair[pairs[:, 0]] = np.arange(len(pairs))
    return Table(packed, ints[..., :4], pairs[:, 0], count, layers, height, width)


def _poses(clips, shots, starts, count: int, layers: int) -> tuple[np.ndarray, np.ndarray]:
    """(F, L, 2, 3) forward maps minus identity, camera included, and (F, L, 3) tints."""
    moves: list[list[tuple]] = []
    shakes: list[list[tuple]] = []
    stretched: list[tuple] = []
    tint = np.ones((count, layers, 3))
    known: dict = {}
    for start, shot in zip(starts.tolist(), shots, strict=True):
        clip, gain, times = clips[shot.scene], shot.gain, np.asarray(shot.times_s, np.float64)
        if times.ndim > 1 or (gain is not None and gain.window is not None):
            raise _refusal("a rolling shutter" if times.ndim > 1 else "a gain map in space", shot.scene)
        frames, stamp = np.arange(start, start + len(times)), times.tobytes()

        def value(waveform, times=times, stamp=stamp):
            key = (waveform.duration_s if type(waveform) is Ramp else waveform, stamp)
            if key not in known:
                known[key] = since_rest(waveform, times)
            return known[key]

        for depth, layer in enumerate(clip.layers):
            total = 1.0 if gain is None else gain.of_layer(depth)
            scaled = gain is None or gain.rule == "parameters" or total == 1.0
            for order, motion in enumerate(layer.motions):
                if motion.kind not in _KINDS:
                    raise _refusal(f"a layer that bends ({motion.kind})", shot.scene)
                _row(moves, order).append((motion, total if scaled else 1.0, frames, depth, value(motion.waveform)))
            if not scaled:
                stretched.append((frames, depth, 1 + (total - 1) * gain.x, 1 + (total - 1) * gain.y))
            if layer.pulse is not None:
                swing = total * layer.pulse.amplitude * value(layer.pulse.waveform)
                tint[frames, depth] = 1 + swing[:, None] * np.asarray(layer.pulse.rgb)
        for order, motion in enumerate(clip.shake if shot.shaken else ()):
            _row(shakes, order).append((motion, 1.0, frames, 0, value(motion.waveform)))
    whole = _composed(moves, count, layers)
    for frames, depth, gain_x, gain_y in stretched:
        whole[frames, depth] *= np.array([[gain_x], [gain_y]])
    return (_compose(_composed(shakes, count, 1), whole) if shakes else whole), tint


def _composed(rounds: list[list[tuple]], count: int, layers: int) -> np.ndarray:
    """(F, L, 2, 3): motions one after another, as `pose._affine`; one round for the first of each layer, and so on."""
    total = np.zeros((count, layers, 2, 3))
    for entries in rounds:
        numbers = np.array([_numbers(motion, factor) for motion, factor, *_ in entries])
        lengths = [len(entry[2]) for entry in entries]
        kind, size, cos, sin, radius, pivot_x, pivot_y = np.repeat(numbers, lengths, 0).T
        frames = np.concatenate([entry[2] for entry in entries])
        depths = np.repeat([entry[3] for entry in entries], lengths)
        size = size * np.concatenate([entry[4] for entry in entries])
        part, shifts, turns = size / radius, kind == 0, kind == 1
        same = np.where(shifts, 0.0, np.where(turns, -2 * np.sin(part / 2) ** 2, np.expm1(part)))
        cross = np.where(turns, np.sin(part), 0.0)
        step = np.empty((len(size), 2, 3))
        step[:, 0, 0] = step[:, 1, 1] = same
        step[:, 1, 0], step[:, 0, 1] = cross, -cross
        step[:, 0, 2] = np.where(shifts, size * cos, cross * pivot_y - same * pivot_x)
        step[:, 1, 2] = np.where(shifts, size * sin, -cross * pivot_x - same * pivot_y)
        total[frames, depths] = _compose(step, total[frames, depths])
    return total


def _numbers(motion, factor: float) -> tuple:
    kind, size = _KINDS[motion.kind], factor * motion.amplitude_px
    if kind == 0:
        return kind, size, np.cos(motion.direction_rad), np.sin(motion.direction_rad), 1.0, 0.0, 0.0
    return kind, size, 0.0, 0.0, motion.radius_px, *motion.pivot_px


def _windows(whole: np.ndarray, boxes: np.ndarray, there: np.ndarray, height: int, width: int) -> np.ndarray:
    """(F, L, 4) left, top, right, bottom of where each layer is seen; all zero where there is no layer."""
    corners = boxes[..., [[0, 1], [2, 1], [0, 3], [2, 3]]]
    points = corners + corners @ np.swapaxes(whole[..., :2], -1, -2) + whole[..., None, :, 2]
    windows = np.concatenate([np.floor(points.min(-2)), np.ceil(points.max(-2)) + 1], -1)
    windows = np.clip(windows, 0, (width, height, width, height))
    windows[:, 0] = 0, 0, width, height
    return np.where(there[..., None], windows, 0)


def _row(rows: list[list], index: int) -> list:
    while len(rows) <= index:
        rows.append([])
    return rows[index]


def _refusal(what: str, scene: int) -> SettingError:
    return SettingError(
        f"clip {scene} has {what}", expected="translation, rotation and scaling seen through a global shutter",
        where="tabulate", remedy="render it with limbeck.motion.clip.make_clip",
    )  # fmt: skip
