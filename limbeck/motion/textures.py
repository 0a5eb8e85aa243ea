"""What layers look like: specifications -> oversampled, premultiplied RGBA splines at rest.

A layer is a continuous function, the spline through its texels; every frame samples that function.
Edges are softened and textures band-limited so that sampling once a pixel does not alias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from limbeck.motion.cutouts import Pictures, picture_size_px, picture_texels
from limbeck.motion.spec import Checks, ClipSpec, Grating, Layer, Noise, Picture, Plain, Shape, StorybookPage
from limbeck.motion.spline import MARGIN, prefilter

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Canvas:
    """One layer at rest.

    Attributes:
        coefficients: (h, w, 4) spline coefficients of premultiplied RGBA.
        origin: rest pixel (x, y) of texel [pad, pad]; pad = MARGIN texels. Whole numbers.
        box: rest pixels (left, top, right, bottom), last ones included, outside of which alpha is 0
            (objects) or nothing is known (background).
        oversampling: texels per pixel.
    """

    coefficients: Tensor
    origin: tuple[int, int]
    box: Box
    oversampling: int


def make_canvas(clip: ClipSpec, index: int, reach_px: float, pictures: Pictures, dtype: torch.dtype) -> Canvas:
    """The spline of layer `index`.

    Args:
        reach_px: how far beyond the frame the background is seen as the scene moves.
        pictures: the user's pictures by hash.
        dtype: of the coefficients.

    Raises:
        ValueError: a picture is smaller than the clip needs, or an object's picture has no alpha.
        KeyError: a picture is missing.
    """
    layer, factor = clip.layers[index], clip.oversampling
    if index == 0:
        margin = math.ceil(reach_px) + 1
        box = (-margin, -margin, clip.width_px - 1 + margin, clip.height_px - 1 + margin)
    else:
        box = _object_box(layer, factor, pictures)
    x, y = _texel_positions(box, factor)
    if index == 0 and isinstance(layer.texture, Noise):  # the commonest large layer is made as a spline at once
        rgb = torch.from_numpy(_noise(layer.texture, x, y, factor, spline=True)).to(dtype)
        coefficients = torch.cat([rgb, torch.ones_like(rgb[:1])])
        return Canvas(coefficients.permute(1, 2, 0).contiguous(), (box[0], box[1]), box, factor)
    if isinstance(layer.texture, Picture | StorybookPage):
        rgba = picture_texels(layer, index, box, factor, pictures)
    else:
        rgb = _PROCEDURAL[layer.texture.kind](layer.texture, x, y, factor)
        rgba = np.concatenate([rgb, np.ones_like(rgb[:1])])
    if layer.shape is not None:
        rgba[3] *= outline(layer.shape, x - layer.centre_px[0], y - layer.centre_px[1])
    rgba[:3] *= rgba[3]
    texels = torch.as_tensor(rgba, dtype=dtype)
    return Canvas(prefilter(texels).permute(1, 2, 0).contiguous(), (box[0], box[1]), box, factor)


def outline(shape: Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Alpha in [0, 1] at offsets from the shape's centre; one half on the outline."""
    x, y = np.float32(x), np.float32(y)
    turned_x = x * math.cos(shape.angle_rad) + y * math.sin(shape.angle_rad)
    turned_y = y * math.cos(shape.angle_rad) - x * math.sin(shape.angle_rad)
    stretch = math.sqrt(shape.aspect)
    u, v = turned_x / stretch, turned_y * stretch
    radius = np.hypot(u, v)
    angle = np.arctan2(v, u) if shape.lobes else None
    limit = np.full_like(radius, shape.radius_px)
    for order, height, phase in shape.lobes:
        limit += np.float32(shape.radius_px * height) * np.cos(order * angle + np.float32(phase))
    # Distance to the outline, to first order: the level function over its gradient's length.
    level = limit - radius
    scale = np.where(radius > 0, np.hypot(u / stretch, v * stretch) / np.maximum(radius, 1e-9), 1 / stretch)
    return _normal_cdf(level / np.maximum(scale, 0.2) / shape.edge_px)


def extent_px(shape: Shape) -> float:
    """Half the side of the square that holds the shape and its soft edge."""
    reach = shape.radius_px * (1 + sum(abs(height) for _, height, _ in shape.lobes))
    stretch = math.sqrt(max(shape.aspect, 1 / shape.aspect))
    return reach * stretch + 5 * shape.edge_px


def _object_box(layer: Layer, factor: int, pictures: Pictures) -> Box:
    cx, cy = layer.centre_px
    if layer.shape is not None:
        half_x = half_y = extent_px(layer.shape)
    else:
        height, width = picture_size_px(layer.texture, factor, pictures)
        half_x, half_y = width / 2 + 2, height / 2 + 2
    return math.floor(cx - half_x), math.floor(cy - half_y), math.ceil(cx + half_x), math.ceil(cy + half_y)


def _texel_positions(box: Box, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Rest positions (x as a row, y as a column) of all texels of a box, padding included."""
    left, top, right, bottom = box
    x = left + (np.arange((right - left) * factor + 1 + 2 * MARGIN) - MARGIN) / factor
    y = top + (np.arange((bottom - top) * factor + 1 + 2 * MARGIN) - MARGIN) / factor
    return x[None, :], y[:, None]


def _tinted(colour: tuple[float, float, float], contrast: float, pattern: np.ndarray) -> np.ndarray:
    """(3, h, w): colour * (1 + contrast * pattern), pattern in [-1, 1]."""
    return np.asarray(colour, pattern.dtype)[:, None, None] * (1 + contrast * pattern)


def _noise(texture: Noise, x: np.ndarray, y: np.ndarray, factor: int, spline: bool = False) -> np.ndarray:
    tile = _noise_tile(texture.seed, texture.slope, texture.finest_px, texture.tile_px, factor, spline)
    rows, columns = np.rint(y[:, 0] * factor).astype(int), np.rint(x[0] * factor).astype(int)
    fields = tile[:, rows[:, None] % tile.shape[1], columns % tile.shape[2]]
    return _tinted(texture.colour, texture.contrast, fields)


@lru_cache(maxsize=16)
def _noise_tile(seed: int, slope: float, finest_px: float, tile_px: int, factor: int, spline: bool) -> np.ndarray:
    """(3, n, n) float32, one period: values in about [-1, 1], or the coefficients of their spline."""
    rng = np.random.Generator(np.random.PCG64(seed))
    half = tile_px // 2 + 1
    normal = rng.standard_normal((4, 2, tile_px, half), dtype=np.float32)
    parts = normal[:1] + 0.5 * normal[1:]  # the channels share most of their structure
    fy, fx = np.fft.fftfreq(tile_px)[:, None], np.fft.rfftfreq(tile_px)[None, :]
    frequency = np.hypot(fx, fy)
    size = np.where(frequency * finest_px <= 1, np.maximum(frequency, 1 / 256) ** -slope, 0.0)
    size[0, 0] = 0
    if tile_px % 2 == 0:
        size[tile_px // 2] = size[:, -1] = 0
    spectrum = torch.complex(
        *(torch.from_numpy((part * size).astype(np.float32)) for part in (parts[:, 0], parts[:, 1]))
    )
    peak = torch.fft.irfft2(spectrum, (tile_px, tile_px)).abs().max().clamp_min(1e-12)
    fine = tile_px * factor
    padded = torch.zeros((3, fine, fine // 2 + 1), dtype=spectrum.dtype)
    above = (tile_px + 1) // 2
    padded[:, :above, :half] = spectrum[:, :above]
    padded[:, fine - (tile_px - above) :, :half] = spectrum[:, above:]
    if spline:
        # The B-spline's own spectrum on the texel grid is (2 + cos w) / 3 along each axis.
        turn = 2 * math.pi / fine * torch.arange(fine)
        response = (2 + torch.cos(turn)) / 3
        padded /= response[:, None] * response[: fine // 2 + 1]
    return (torch.fft.irfft2(padded, (fine, fine)) * (factor**2 / peak)).numpy()


def _grating(texture: Grating, x: np.ndarray, y: np.ndarray, factor: int) -> np.ndarray:
    wavenumber = 2 * math.pi / texture.period_px
    along = x * math.cos(texture.angle_rad) + y * math.sin(texture.angle_rad)
    return _tinted(texture.colour, texture.contrast, np.cos(wavenumber * along + texture.phase_rad)[None])


def _checks(texture: Checks, x: np.ndarray, y: np.ndarray, factor: int) -> np.ndarray:
    u = x * math.cos(texture.angle_rad) + y * math.sin(texture.angle_rad)
    v = y * math.cos(texture.angle_rad) - x * math.sin(texture.angle_rad)
    pattern = _square_wave(u, texture.square_px) * _square_wave(v, texture.square_px)
    return _tinted(texture.colour, texture.contrast, pattern[None])


def _square_wave(position: np.ndarray, half_period_px: float, edge_px: float = 0.7) -> np.ndarray:
    """A square wave blurred by a Gaussian; its edges are too far apart to touch (checked by the spec)."""
    phase = np.mod(position, 2 * half_period_px)
    to_edge = np.minimum(phase, 2 * half_period_px - phase)
    signed = half_period_px / 2 - np.abs(to_edge - half_period_px / 2)
    return np.where(phase < half_period_px, 1, -1) * (2 * _normal_cdf(signed / edge_px) - 1)


def _plain(texture: Plain, x: np.ndarray, y: np.ndarray, factor: int) -> np.ndarray:
    return _tinted(texture.colour, 0.0, np.zeros((1, y.shape[0], x.shape[1])))


_PROCEDURAL = {"noise": _noise, "grating": _grating, "checks": _checks, "plain": _plain}


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    return torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(z))).numpy()
