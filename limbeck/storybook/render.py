"""Draws a scene, with the exact boxes, masks and depth of what it drew.

Convention: pixel (row i, column j) covers [j, j+1) x [i, i+1); its centre is (j + 0.5, i + 0.5), origin top left.
Boxes are (x0, y0, x1, y1) in pixels, the far edge not included. Depth order: 0 is nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from limbeck.storybook.scene import Scene, Thing
from limbeck.storybook.shapes import HALF_WIDTH, PARTS, RELATIVE_HEIGHT, Field
from limbeck.storybook.world import GROUND_RGB, RGB, SKY_RGB

SIZE_PX = 64
HEIGHT = {"small": 0.25, "big": 0.40}
"""A thing's nominal height as a share of the picture's."""
CENTRE = {"left": 0.205, "middle": 0.5, "right": 0.795}
_PAINT = {
    "wood": (0.45, 0.30, 0.18),
    "cream": (1.0, 0.96, 0.84),
    "leaf": (0.25, 0.52, 0.22),
    "ink": (0.13, 0.12, 0.16),
}
_TINT = {"day": (1.0, 1.0, 1.0), "sunset": (0.97, 0.90, 0.86), "night": (0.80, 0.82, 0.92)}
_GROUND_TINT = {"day": (1.0, 1.0, 1.0), "sunset": (0.98, 0.84, 0.76), "night": (0.46, 0.50, 0.66)}
_CLOUDS = ((0.22, 0.17, 0.13), (0.60, 0.24, 0.15), (0.88, 0.13, 0.11))


@dataclass(frozen=True)
class Picture:
    """A rendered scene and its truth, things in the scene's order.

    Attributes:
        image: (H, W, 3) uint8, sRGB.
        masks: (things, H, W) bool, the visible pixels of each thing.
        full_masks: (things, H, W) bool, its pixels as if nothing stood before it.
        boxes: (things, 4) float32, the box of each visible mask; zeros where nothing is visible.
        depth_order: (things,) int, 0 is nearest.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    full_masks: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    depth_order: NDArray[np.int64]


def render(scene: Scene, size: int = SIZE_PX) -> Picture:
    """Draws a scene at size x size pixels; the same scene gives the same bytes at the same size.

    Raises:
        ValueError: size is below 16.
    """
    if size < 16:
        raise ValueError(f"a storybook picture has at least 16 px a side, found {size}")
    canvas = _background(scene, size)
    base = {place: _standing(scene, place) for place in CENTRE}
    far_to_near = sorted(range(len(scene.things)), key=lambda i: base[scene.things[i].place][1])
    full = np.zeros((len(scene.things), size, size), bool)
    for i in far_to_near:
        full[i] = _draw_thing(canvas, scene, scene.things[i], base[scene.things[i].place])
    masks = full.copy()
    for rank, i in enumerate(far_to_near):
        for nearer in far_to_near[rank + 1 :]:
            masks[i] &= ~full[nearer]
    if scene.style == "pastel":
        grey = canvas.mean(-1, keepdims=True)
        canvas = 0.58 * (0.85 * canvas + 0.15 * grey) + 0.42
    image = np.round(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    depth = np.empty(len(full), np.int64)
    depth[far_to_near[::-1]] = np.arange(len(full))
    return Picture(image, masks, full, np.stack([_box(m) for m in masks]), depth)


def _rng(scene: Scene, what: int) -> np.random.Generator:
    """Randomness of one aspect of a scene, so that an edit elsewhere leaves it alone."""
    return np.random.Generator(np.random.PCG64([scene.variation, what]))


def _standing(scene: Scene, place: str) -> tuple[float, float, float]:
    """Where and how tall, relative to nominal, a thing in this place stands: x, base y, scale."""
    dx, dy, ds = _rng(scene, 10 + list(CENTRE).index(place)).uniform(-1, 1, 3)
    return CENTRE[place] + 0.015 * dx, 0.875 + 0.035 * dy, 1.0 + 0.05 * ds


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[Field, Field]:
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    return centres[None, :], centres[:, None]


def _mix(canvas: Field, alpha: Field | float, rgb: tuple[float, float, float] | Field) -> None:
    """Paints rgb over the canvas, in place."""
    a = np.asarray(alpha, np.float32)[..., None]
    canvas += a * (np.asarray(rgb, np.float32) - canvas)


def _cover(distance: Field, px: float) -> Field:
    """How much of each pixel an edge covers, from the distance of its centre and the size of a pixel."""
    return np.clip(0.5 - distance / px, 0, 1)


def _background(scene: Scene, size: int) -> Field:
    rng = _rng(scene, 0)
    horizon, sun_x, drift = 0.60 + 0.03 * rng.uniform(-1, 1), rng.uniform(0.15, 0.85), rng.uniform(-0.08, 0.08)
    x, y = _grid(size)
    px = 1 / size
    sky_top, sky_low = np.float32(SKY_RGB[scene.time])
    low, dull = np.clip(y / horizon, 0, 1)[..., None], {"clear": 0.0, "cloudy": 0.25, "rainy": 0.72}[scene.weather]
    sky = sky_top + low * (sky_low - sky_top)
    greyed = sky.mean(-1, keepdims=True) * np.float32([0.74, 0.78, 0.84])
    canvas = np.broadcast_to(sky + dull * (greyed - sky), (size, size, 3)).copy()
    if scene.weather != "rainy":
        _draw_light(canvas, scene.time, sun_x, x, y, px)
    if scene.weather != "clear":
        _draw_clouds(canvas, scene, drift, x, y, px)
    far, near = np.float32(GROUND_RGB[scene.ground]) * np.float32(_GROUND_TINT[scene.time])
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    ground = (far + depth[..., None] * (near - far)) * (0.9 if scene.weather == "rainy" else 1.0)
    if scene.ground == "water":
        ground = ground + 0.035 * np.sin(2 * np.pi * (3.5 * depth**0.7 + 0.05 * np.sin(9 * x)))[..., None]
        edge = y - horizon + 0 * x
    else:
        edge = y - horizon + 0.012 * np.sin(2 * np.pi * (x + sun_x))
    _mix(canvas, _cover(-edge, px), np.broadcast_to(ground, canvas.shape))
    return canvas


def _draw_light(canvas: Field, time: str, at: float, x: Field, y: Field, px: float) -> None:
    if time == "day":
        _mix(canvas, _cover(np.hypot(x - at, y - 0.13) - 0.075, px), (1.0, 0.90, 0.35))
    elif time == "sunset":
        _mix(canvas, _cover(np.hypot(x - at, y - 0.55) - 0.13, px), (1.0, 0.86, 0.45))
    else:
        moon = np.maximum(np.hypot(x - at, y - 0.14) - 0.075, 0.06 - np.hypot(x - at - 0.045, y - 0.12))
        _mix(canvas, _cover(moon, px), (0.98, 0.96, 0.80))
        for k in range(3):
            star = np.hypot(x - (at + 0.27 * (k + 1)) % 1.0, y - (0.10 + 0.11 * k)) - 0.014
            _mix(canvas, _cover(star, px), (0.95, 0.95, 0.85))


def _draw_clouds(canvas: Field, scene: Scene, drift: float, x: Field, y: Field, px: float) -> None:
    white = np.float32((1.0, 1.0, 1.0) if scene.weather == "cloudy" else (0.52, 0.55, 0.60))
    shade = white * {"day": 1.0, "sunset": 0.92, "night": 0.58}[scene.time]
    for cx, cy, r in _CLOUDS:
        cx = cx + drift
        puffs = [
            np.hypot((x - cx - k * r) / 1.25, y - cy + 0.02 * (k == 0)) - r * (0.62 if k else 0.8) for k in (-1, 0, 1)
        ]
        _mix(canvas, 0.92 * _cover(np.minimum.reduce(puffs), px), shade)
    if scene.weather == "rainy":
        for k in range(6):
            u, v = x - (0.10 + 0.16 * k + drift), y - (0.37 + 0.07 * (k * 2 % 3))
            drop = np.maximum(np.abs(u + 0.35 * v) - 0.013, np.abs(v) - 0.045)
            _mix(canvas, 0.8 * _cover(drop, px), (0.72, 0.84, 0.96))


def _draw_thing(canvas: Field, scene: Scene, thing: Thing, standing: tuple[float, float, float]) -> NDArray[np.bool_]:
    size = len(canvas)
    cx, base, scale = standing
    height = HEIGHT[thing.size] * scale * RELATIVE_HEIGHT.get(thing.kind, 1.0)
    reach, margin = HALF_WIDTH * height, 2.5 / size
    j0, j1 = (int(np.clip(v * size, 0, size)) for v in (cx - reach - margin, cx + reach + margin + 1 / size))
    i0, i1 = (int(np.clip(v * size, 0, size)) for v in (base - 1.05 * height - margin, base + margin + 1 / size))
    gx, gy = _grid(size)
    x, y, px = (gx[:, j0:j1] - cx) / height, (base - gy[i0:i1]) / height, 1 / size / height
    x, y = np.broadcast_arrays(x, y)
    window = canvas[i0:i1, j0:j1]
    main = np.float32(RGB[thing.colour])
    paints = {
        "main": main,
        "dark": main * 0.62,
        "light": main + 0.72 * (1 - main),
        **{name: np.float32(rgb) for name, rgb in _PAINT.items()},
    }
    distances = [(paint, part(x, y)) for paint, part in PARTS[thing.kind]]
    silhouette = np.minimum.reduce([d for _, d in distances])
    tint = np.float32(_TINT[scene.time])
    shadow = np.hypot(x / 0.5, y / 0.07) - 1
    _mix(window, 0.22 * np.clip(-shadow * 2, 0, 1), (0.10, 0.12, 0.20))
    _mix(window, 0.75 * _cover(silhouette - 0.9 * px, px), main * 0.35 * tint)
    light = np.clip(0.90 + 0.16 * y, 0.85, 1.06)[..., None]
    for paint, distance in distances:
        _mix(window, _cover(distance, px), paints[paint] * light * tint)
    full = np.zeros((size, size), bool)
    full[i0:i1, j0:j1] = silhouette < 0
    return full


def _box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros(4, np.float32)
    return np.float32([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
