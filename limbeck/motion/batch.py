"""Many clips at once: their layers in one table, every pose of a batch in another, frames and flow out.

What `render` and `truth.flow_between` do clip by clip is done here with a number of steps that does not grow
with the number of clips, so that a GPU is kept busy: all poses are worked out together on the host, travel in
one transfer, and one kernel (`fused.py`) paints every layer of every frame and writes the flow. Where that
kernel can't run (a CPU, a GPU without Triton) the same tables are painted with torch, depth by depth.

For clips that move by translation, rotation and scaling, seen through a global shutter; others go through
`render`. The pixels are those of `render` to float32's rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import SettingError
from limbeck.motion.pose import frame_times
from limbeck.motion.render import Scene, Shot
from limbeck.motion.spec import ClipSpec
from limbeck.motion.spline import MARGIN, sample
from limbeck.motion.tables import Table, tabulate

MOST_TEXELS = 1 << 31
"""Of a bank, which 32-bit addresses reach: 34 GB."""
CHUNK_PX = {"cpu": 1 << 14, "cuda": 1 << 23}
"""Pixels sampled at once without the fused kernel: what fits a CPU's cache, what fills a GPU."""


def texels(scene: Scene) -> int:
    """How many a scene's layers have together; each takes 16 bytes."""
    return sum(math.prod(canvas.coefficients.shape[:2]) for canvas in scene.canvases)


@dataclass(frozen=True)
class Bank:
    """The layers of many clips, kept on a device.

    Attributes:
        clips: of one frame size and one oversampling.
        atlas: (texels, 4) float32, the splines of all layers one after another.
        layout: (S, L, 5) int32 on the host: first texel, height, width, origin x, origin y; height 0: no layer.
        boxes: (S, L, 4) float64 on the host, the rest boxes.
    """

    clips: tuple[ClipSpec, ...]
    atlas: Tensor
    layout: np.ndarray
    boxes: np.ndarray

    @property
    def oversampling(self) -> int:
        """Texels a pixel."""
        return self.clips[0].oversampling

    @staticmethod
    def of(scenes: Sequence[Scene], device: torch.device | str | None = None) -> Bank:
        """Gather the layers of scenes.

        Args:
            device: where the bank lives; the first scene's by default.

        Raises:
            SettingError: the clips differ in frame size or oversampling, or are too many for 32-bit addresses.
        """
        sizes = {(scene.clip.width_px, scene.clip.height_px, scene.clip.oversampling) for scene in scenes}
        if len(sizes) != 1:
            raise SettingError(
                f"clips of {len(sizes)} sizes: {sorted(sizes)}", expected="one (width, height, oversampling) a bank",
                where="Bank.of", remedy="make one bank for each size",
            )  # fmt: skip
        depth = max(len(scene.canvases) for scene in scenes)
        layout, boxes = np.zeros((len(scenes), depth, 5), np.int64), np.zeros((len(scenes), depth, 4))
        start = 0
        for index, scene in enumerate(scenes):
            for layer, canvas in enumerate(scene.canvases):
                height, width = canvas.coefficients.shape[:2]
                layout[index, layer] = start, height, width, *canvas.origin
                boxes[index, layer] = canvas.box
                start += height * width
        if start >= MOST_TEXELS:
            raise SettingError(
                f"{start} texels in a bank", expected=f"below {MOST_TEXELS}", where="Bank.of",
                remedy="make several smaller banks",
            )  # fmt: skip
        atlas = torch.empty((start, 4), dtype=torch.float32, device=device or scenes[0].canvases[0].coefficients.device)
        canvases = [canvas for scene in scenes for canvas in scene.canvases]
        parts = atlas.split([canvas.coefficients.shape[0] * canvas.coefficients.shape[1] for canvas in canvases])
        for part, canvas in zip(parts, canvases, strict=True):
            part.copy_(canvas.coefficients.flatten(0, 1))
        return Bank(tuple(scene.clip for scene in scenes), atlas, layout.astype(np.int32), boxes)


@dataclass(frozen=True)
class Painted:
    """What a table shows.

    Attributes:
        frames: (F, 3, H, W) float32, clean: not clipped, no noise.
        layer_ids: (F, H, W) uint8, the nearest layer whose alpha is at least one half.
        flow: (P, H, W, 2) float32 px along (x, y), from the first to the second frame of each pair.
    """

    frames: Tensor
    layer_ids: Tensor
    flow: Tensor


def is_batchable(clip: ClipSpec) -> bool:
    """Whether `paint_many` can paint the clip: affine motion, no gain map in space, no rolling shutter."""
    affine = all(
        motion.kind in ("translation", "rotation", "scaling") for each in clip.layers for motion in each.motions
    )
    return affine and clip.sensor.readout_s == 0 and all(gain.window is None for gain in clip.gains)


def training_shots(clips: Sequence[ClipSpec], chosen: Sequence[int] | None = None) -> tuple[list[Shot], np.ndarray]:
    """What a magnification student trains on: shots of every clip, and the pairs of frames for forward flow.

    Args:
        clips: a bank's.
        chosen: indices of those wanted, in this order; all by default.

    Returns:
        shots: of each clip its input (T frames) and, for each gain, the target's frames 1 to T - 1 (frame 0 is the
            input's).
        pairs: (P, 2) indices into the frames, of successive input frames.
    """
    shots, pairs, start = [], [], 0
    for index in range(len(clips)) if chosen is None else chosen:
        clip = clips[index]
        times = frame_times(clip)
        shots += [Shot(index, times, shaken=True), *(Shot(index, times[1:], gain) for gain in clip.gains)]
        first = np.arange(start, start + len(times) - 1)
        pairs.append(np.stack([first, first + 1], -1))
        start += len(times) + len(clip.gains) * (len(times) - 1)
    return shots, np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int64)


def paint_many(bank: Bank, shots: Sequence[Shot], pairs: np.ndarray = (), fused: bool | None = None) -> Painted:
    """Render shots of a bank's clips, and the flow between pairs of their frames.

    Args:
        shots: `scene` indexes the bank's clips.
        pairs: (P, 2) indices into the frames of all shots, of one clip each.
        fused: whether one kernel does it all; by default wherever it can run.

    Raises:
        SettingError: a clip bends, or has a gain map in space or a rolling shutter.
    """
    return paint_table(bank, tabulate(bank.clips, bank.layout, bank.boxes, shots, pairs), fused)


def paint_table(bank: Bank, table: Table, fused: bool | None = None) -> Painted:
    """`paint_many` for a table that is there."""
    if fused is None:
        fused = bank.atlas.device.type == "cuda" and _has_triton()
    if fused:
        from limbeck.motion.fused import paint_fused

        return Painted(*paint_fused(bank.atlas, table.on(bank.atlas.device), bank.oversampling))
    return _paint(bank, table)


def _has_triton() -> bool:
    from importlib.util import find_spec

    return find_spec("triton") is not None


def _paint(bank: Bank, table: Table) -> Painted:
    """The tables painted with torch, depth by depth."""
    device, factor = bank.atlas.device, bank.oversampling
    height, width = table.height, table.width
    there = table.on(device)
    frames = torch.zeros((table.count, height, width, 3), device=device)
    ids = torch.zeros((table.count, height, width), dtype=torch.uint8, device=device)
    for depth in range(table.layers):
        left, top, right, bottom = table.windows[:, depth].T
        seen = np.flatnonzero((right > left) & (bottom > top))
        if not len(seen):
            continue
        wide, tall = int((right - left)[seen].max()), int((bottom - top)[seen].max())
        many = max(1, CHUNK_PX.get(device.type, CHUNK_PX["cpu"]) // (wide * tall))
        for begin in range(0, len(seen), many):
            at = torch.as_tensor(seen[begin : begin + many], device=device)
            whole, real = there.ints[at, depth, :, None, None], there.floats[at, depth, :, None, None]
            # One size for all: windows at the frame's far rim start earlier instead; the layer is empty there.
            column = whole[:, 0].clamp_max(width - wide) + torch.arange(wide, device=device, dtype=torch.int32)
            row = whole[:, 1].clamp_max(height - tall) + torch.arange(tall, device=device, dtype=torch.int32)[:, None]
            vx = real[:, 0] * column + real[:, 1] * row + real[:, 2]
            vy = real[:, 3] * column + real[:, 4] * row + real[:, 5]
            values = sample(
                bank.atlas, whole[:, 4], whole[:, 5], whole[:, 6],
                (row - whole[:, 8]) * factor + MARGIN, (column - whole[:, 7]) * factor + MARGIN,
                vy * factor, vx * factor,
            )  # fmt: skip
            colour, alpha = values[..., :3] * real[:, 6:9].permute(0, 2, 3, 1), values[..., 3:]
            index = (at[:, None, None], row.long(), column.long())
            frames[index] = colour.addcmul_(frames[index], 1 - alpha)
            ids[index] = torch.where(alpha[..., 0] >= 0.5, depth, ids[index]).to(torch.uint8)
    x = torch.arange(width, device=device, dtype=torch.float32)
    y = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    source = torch.as_tensor(table.sources, device=device)
    axx, axy, tx, ayx, ayy, ty = there.maps[
        torch.arange(len(source), device=device)[:, None, None], ids[source].long()
    ].unbind(-1)
    flow = torch.stack([axx * x + axy * y + tx, ayx * x + ayy * y + ty], -1)
    return Painted(frames.permute(0, 3, 1, 2), ids, flow)
