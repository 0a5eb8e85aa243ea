"""One Triton kernel for a whole batch: every layer of every frame, and the flow, in one pass over the pixels.

A program owns one tile of one frame. It goes through the layers from far to near, leaves out those whose window
does not touch the tile, samples the spline with its sixteen taps, puts the value over what is there, and writes
colour, nearest layer and flow once. Nothing else goes through memory.

It needs Triton, which torch brings along for CUDA.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.errors import SettingError
from limbeck.motion.spline import MARGIN
from limbeck.motion.tables import OnDevice

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = tl = None

TILE_PX = (16, 16)
"""Height and width of a tile; powers of two."""
WARPS = 8


def paint_fused(
    atlas: Tensor, table: OnDevice, oversampling: int, tile_px: tuple[int, int] | None = None, warps: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (F, 3, H, W), layer ids (F, H, W) and flow (P, H, W, 2) of a table.

    Raises:
        SettingError: Triton is missing.
    """
    if triton is None:
        raise SettingError(
            "Triton is missing", expected="torch for CUDA, which brings it", where="paint_fused",
            remedy="paint with fused=False",
        )  # fmt: skip
    count, layers = table.ints.shape[:2]
    height, width = table.height, table.width
    frames = torch.empty((count, 3, height, width), device=atlas.device)
    ids = torch.empty((count, height, width), dtype=torch.uint8, device=atlas.device)
    flow = torch.empty((len(table.maps), height, width, 2), device=atlas.device)
    tall, wide = tile_px or TILE_PX
    # Frames run fastest, so that those of one clip share the texels of a tile while these are in the cache.
    grid = (count, triton.cdiv(height, tall) * triton.cdiv(width, wide))
    paint_tile[grid](
        atlas, table.floats, table.ints, table.maps, table.pair, frames, ids, flow, height, width,
        LAYERS=layers, FACTOR=oversampling, RIM=MARGIN, TALL=tall, WIDE=wide, num_warps=warps or WARPS,
    )  # fmt: skip
    return frames, ids, flow


def _kernel(function):
    return function if triton is None else triton.jit(function)


@_kernel
def _weight(t, TAP: tl.constexpr):
    """Cubic B-spline weight of tap 0 to 3 at a fraction t past tap 1; see `spline.weights`."""
    s = 1 - t
    if TAP == 0:
        w = s * s * s
    elif TAP == 1:
        w = 4 - 6 * t * t + 3 * t * t * t
    elif TAP == 2:
        w = 4 - 6 * s * s + 3 * s * s * s
    else:
        w = t * t * t
    return w / 6


@_kernel
def paint_tile(
    atlas, floats, ints, maps, pairs, frames, ids, flow, height, width,
    LAYERS: tl.constexpr, FACTOR: tl.constexpr, RIM: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """One tile of one frame; the arguments are those of `OnDevice` and the three results."""
    frame = tl.program_id(0)
    tile = tl.program_id(1)
    across = tl.cdiv(width, WIDE)
    x0 = (tile % across) * WIDE
    y0 = (tile // across) * TALL
    pixel = tl.arange(0, TALL * WIDE)
    x = x0 + pixel % WIDE
    y = y0 + pixel // WIDE
    xf = x.to(tl.float32)
    yf = y.to(tl.float32)
    channel = tl.arange(0, 4)
    value = tl.zeros((TALL * WIDE, 4), tl.float32)
    nearest = tl.zeros((TALL * WIDE,), tl.int32)
    for depth in range(LAYERS):
        whole = ints + (frame * LAYERS + depth) * 9
        left = tl.load(whole)
        top = tl.load(whole + 1)
        right = tl.load(whole + 2)
        bottom = tl.load(whole + 3)
        if (x0 < right) & (x0 + WIDE > left) & (y0 < bottom) & (y0 + TALL > top):
            real = floats + (frame * LAYERS + depth) * 9
            first = atlas + tl.load(whole + 4).to(tl.int64) * 4
            rows = tl.load(whole + 5)
            columns = tl.load(whole + 6)
            du = (tl.load(real) * xf + tl.load(real + 1) * yf + tl.load(real + 2)) * FACTOR
            dv = (tl.load(real + 3) * xf + tl.load(real + 4) * yf + tl.load(real + 5)) * FACTOR
            floor_u = tl.floor(du)
            floor_v = tl.floor(dv)
            u = (x - tl.load(whole + 7)) * FACTOR + (RIM - 1) + floor_u.to(tl.int32)
            v = (y - tl.load(whole + 8)) * FACTOR + (RIM - 1) + floor_v.to(tl.int32)
            u = tl.minimum(tl.maximum(u, 0), columns - 4)
            v = tl.minimum(tl.maximum(v, 0), rows - 4)
            t = du - floor_u
            s = dv - floor_v
            inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
            corner = (v * columns + u) * 4
            sampled = tl.zeros((TALL * WIDE, 4), tl.float32)
            for down in tl.static_range(4):
                for along in tl.static_range(4):
                    weight = _weight(s, down) * _weight(t, along)
                    texel = corner + (down * columns + along) * 4
                    texels = tl.load(first + (texel[:, None] + channel[None, :]), mask=inside[:, None], other=0.0)
                    sampled += weight[:, None] * texels
            alpha = tl.sum(tl.where(channel[None, :] == 3, sampled, 0.0), 1)
            red = tl.load(real + 6)
            green = tl.load(real + 7)
            blue = tl.load(real + 8)
            tint = tl.where(channel == 0, red, tl.where(channel == 1, green, blue))
            value = sampled * tint[None, :] + value * (1 - alpha)[:, None]
            nearest = tl.where(alpha >= 0.5, depth, nearest)
    framed = (x < width) & (y < height)
    plane = height * width
    at = y * width + x
    out = frames + frame.to(tl.int64) * 3 * plane
    tl.store(out + (channel[None, :] * plane + at[:, None]), value, mask=framed[:, None] & (channel[None, :] < 3))
    tl.store(ids + frame.to(tl.int64) * plane + at, nearest.to(tl.uint8), mask=framed)
    pair = tl.load(pairs + frame)
    if pair >= 0:
        own = maps + (pair * LAYERS + nearest) * 6
        step_x = tl.load(own) * xf + tl.load(own + 1) * yf + tl.load(own + 2)
        step_y = tl.load(own + 3) * xf + tl.load(own + 4) * yf + tl.load(own + 5)
        moved = flow + pair.to(tl.int64) * plane * 2
        tl.store(moved + at * 2, step_x, mask=framed)
        tl.store(moved + at * 2 + 1, step_y, mask=framed)
