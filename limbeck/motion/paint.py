"""Painting one layer into many frames: choose windows, sample the layer's spline there, put it over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.motion.boxes import seen_boxes
from limbeck.motion.pose import Pose
from limbeck.motion.spline import MARGIN, sample, sample_shifted
from limbeck.motion.textures import Canvas

CHUNK_PX = {"cpu": 1 << 14, "cuda": 1 << 22}
"""Pixels sampled at once: what fits a CPU's cache, what fills a GPU."""


@dataclass(frozen=True)
class Stroke:
    """One depth, J frames (of one scene or of many).

    Attributes:
        canvases: the layer seen in each frame.
        at: (J,) index into the frames.
        tint: (J, R, 3) factor on the colour.
        shifts: the layer only translates; lets the CPU sample one axis after the other.
    """

    depth: int
    canvases: Sequence[Canvas]
    pose: Pose
    at: np.ndarray
    tint: np.ndarray
    shifts: bool

    @staticmethod
    def joined(strokes: Sequence[Stroke]) -> Stroke:
        """Strokes of affine poses as one."""
        first = strokes[0]
        pose = Pose(
            np.concatenate([stroke.pose.rigid for stroke in strokes]),
            np.concatenate([stroke.pose.camera for stroke in strokes]),
        )
        return Stroke(
            first.depth,
            [canvas for stroke in strokes for canvas in stroke.canvases],
            pose,
            np.concatenate([stroke.at for stroke in strokes]),
            np.concatenate([stroke.tint for stroke in strokes]),
            first.shifts,
        )


def paint(stroke: Stroke, frames: Tensor, ids: Tensor) -> None:
    """Put a layer over the frames, in place.

    Args:
        frames: (F, H, W, 3); the background (depth 0) overwrites.
        ids: (F, H, W) uint8, set to the depth where alpha is at least one half.
    """
    lefts, tops, wide, tall = _windows(stroke, frames.shape[1], frames.shape[2])
    if wide == 0 or tall == 0:
        return
    one_by_one = stroke.shifts and frames.device.type == "cpu"
    sampled = _sampled_shifts if one_by_one else _sampled
    for frame, row, column, values, tint in sampled(stroke, lefts, tops, wide, tall, frames):
        colour, alpha = values[..., :3] * tint, values[..., 3:]
        index = (frame, row, column)
        if stroke.depth == 0:
            frames[index] = colour
            continue
        frames[index] = colour.add_(frames[index] * (1 - alpha))
        ids[index] = torch.where(alpha[..., 0] >= 0.5, stroke.depth, ids[index]).to(torch.uint8)


def _windows(stroke: Stroke, height: int, width: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Where the layer is seen: left and top of every frame's window, one width and height for all."""
    if stroke.depth == 0:
        zero = np.zeros(len(stroke.at), np.int64)
        return zero, zero, width, height
    if len({canvas.box for canvas in stroke.canvases}) == 1:
        boxes = seen_boxes(stroke.pose, stroke.canvases[0].box)
    else:
        boxes = np.concatenate(
            [seen_boxes(stroke.pose.take([j]), canvas.box) for j, canvas in enumerate(stroke.canvases)]
        )
    low = np.clip(np.floor(boxes[:, :2]).astype(np.int64), 0, (width, height))
    high = np.clip(np.ceil(boxes[:, 2:]).astype(np.int64) + 1, 0, (width, height))
    wide, tall = (high - low).clip(0).max(0).tolist()
    return np.minimum(low[:, 0], width - wide), np.minimum(low[:, 1], height - tall), wide, tall


Sampled = tuple[Tensor | int, Tensor | slice, Tensor | slice, Tensor, Tensor]


def _sampled_shifts(stroke: Stroke, lefts, tops, wide: int, tall: int, frames: Tensor) -> Iterator[Sampled]:
    """Windows of a layer that only translates, one frame at a time."""
    shift = -(stroke.pose.rigid[:, 0, :, 2] + stroke.pose.camera[:, 0, :, 2])
    for j, canvas in enumerate(stroke.canvases):
        factor = canvas.oversampling
        dv, du = torch.tensor(shift[j, 1] * factor, dtype=torch.float64), torch.tensor(shift[j, 0] * factor)
        top, left = int(tops[j]), int(lefts[j])
        values = sample_shifted(
            canvas.coefficients,
            (top - canvas.origin[1]) * factor + MARGIN,
            (left - canvas.origin[0]) * factor + MARGIN,
            tall, wide, factor, dv, du,
        )  # fmt: skip
        tint = torch.as_tensor(stroke.tint[j, 0], dtype=frames.dtype)
        yield int(stroke.at[j]), slice(top, top + tall), slice(left, left + wide), values, tint


def _sampled(stroke: Stroke, lefts, tops, wide: int, tall: int, frames: Tensor) -> Iterator[Sampled]:
    """Windows of any layer, many frames at a time, in chunks."""
    device, dtype = frames.device, frames.dtype
    atlas, starts = _atlas(stroke.canvases)

    def per_window(values, kind=torch.int32):
        return torch.as_tensor(np.asarray(values), dtype=kind, device=device)[:, None, None]

    start = per_window(starts)
    height = per_window([canvas.coefficients.shape[0] for canvas in stroke.canvases])
    width = per_window([canvas.coefficients.shape[1] for canvas in stroke.canvases])
    origin_x = per_window([canvas.origin[0] for canvas in stroke.canvases])
    origin_y = per_window([canvas.origin[1] for canvas in stroke.canvases])
    left, top, at = per_window(lefts), per_window(tops), per_window(stroke.at, torch.int64)
    tint = torch.as_tensor(stroke.tint, dtype=dtype, device=device)
    factor = stroke.canvases[0].oversampling
    limit = CHUNK_PX.get(device.type, CHUNK_PX["cpu"])
    many = max(1, limit // (tall * wide))
    band = max(1, min(tall, limit // wide))
    for j in range(0, len(stroke.at), many):
        part = slice(j, j + many)
        pose = stroke.pose.take(part)
        column = left[part] + torch.arange(wide, device=device, dtype=torch.int32)
        for y in range(0, tall, band):
            row = top[part] + torch.arange(y, min(y + band, tall), device=device, dtype=torch.int32)[:, None]
            vx, vy = pose.backward(column.to(dtype), row.to(dtype), row.long())
            texel_row = (row - origin_y[part]) * factor + MARGIN
            texel_column = (column - origin_x[part]) * factor + MARGIN
            values = sample(
                atlas, start[part], height[part], width[part], texel_row, texel_column, vy * factor, vx * factor
            )
            colour = tint[part][:, :, None]
            if colour.shape[1] > 1:  # a rolling shutter: the tint of each row's own time
                colour = colour[torch.arange(colour.shape[0], device=device)[:, None, None], row.long(), 0]
            yield at[part], row.long(), column.long(), values, colour


def _atlas(canvases: Sequence[Canvas]) -> tuple[Tensor, list[int]]:
    """All distinct splines one after another, and where each window's begins."""
    where: dict[int, int] = {}
    tables, size = [], 0
    for canvas in canvases:
        if id(canvas) not in where:
            where[id(canvas)] = size
            tables.append(canvas.coefficients.flatten(0, 1))
            size += len(tables[-1])
    return (tables[0] if len(tables) == 1 else torch.cat(tables)), [where[id(canvas)] for canvas in canvases]
