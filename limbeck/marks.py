"""Set-of-Mark: a number on each thing of a picture, drawn inside the thing's own mask.

A mark is a dark disc with a light number. Its centre is the pixel of the thing furthest from anything else, and the
disc is smaller than that distance, so every pixel of it lies on its own thing and no two marks can touch. A thing too
thin for a legible number gets none. Numbers are dealt at random: they say nothing about place, size or kind.

Convention: masks and pixels are (row, column); `x`, `y` of a mark are shares of the picture's width and height.

Source: Yang et al. 2023, Set-of-Mark Prompting (arXiv 2310.11441), sections 3.2 and 3.3.
Differs: their marks go beside a thing that is too small; ours leave it unmarked, as its number could be taken for a
neighbour's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

MIN_RADIUS_PX = 6.0
"""Radius below which a number can't be read."""
MAX_RADIUS = 0.05
"""Greatest radius as a share of the picture's shorter side: a mark shouldn't hide its thing."""
_DISC, _DIGIT = (16, 16, 20), (255, 255, 255)


@dataclass(frozen=True)
class Mark:
    """One number in a picture.

    Attributes:
        number: what is drawn, from 1.
        index: which mask it is on.
        x, y: centre, as shares of width and height.
        radius_px: of the disc.
    """

    number: int
    index: int
    x: float
    y: float
    radius_px: float


def place(masks: NDArray[np.bool_], rng: random.Random) -> list[Mark]:
    """Finds a spot for a mark on every thing that has room for one.

    Args:
        masks: (N, H, W) bool, the pixels of each thing; pixels that two share belong to neither.
        rng: deals the numbers.

    Returns:
        Marks by number; fewer than N where things have no room.
    """
    height, width = masks.shape[1:]
    most = max(MAX_RADIUS * min(height, width), MIN_RADIUS_PX)
    alone = masks & (masks.sum(0) == 1)
    spots = []
    for index, mask in enumerate(alone):
        distance = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(distance.argmax()), mask.shape)
        radius = min(float(distance[row, column]) - 0.5, most)
        if radius >= MIN_RADIUS_PX:
            spots.append((index, (int(column) + 0.5) / width, (int(row) + 0.5) / height, radius))
    numbers = list(range(1, len(spots) + 1))
    rng.shuffle(numbers)
    marks = [Mark(number, *spot) for number, spot in zip(numbers, spots, strict=True)]
    return sorted(marks, key=lambda mark: mark.number)


def draw(image: NDArray[np.uint8], marks: Sequence[Mark]) -> NDArray[np.uint8]:
    """A copy of a picture with marks in it; nothing outside their discs changes.

    Args:
        image: (H, W, 3) uint8, RGB.
        marks: from `place`.
    """
    out = image.copy()
    for mark in marks:
        rows, columns = disc(mark, image.shape[0], image.shape[1])
        digits = _digits(mark.number, int(mark.radius_px * 2) | 1)  # an odd side has a middle pixel, as the disc does
        half = digits.shape[0] // 2
        row, column = _centre(mark, image.shape[0], image.shape[1])
        ink = digits[rows - row + half, columns - column + half, None]
        out[rows, columns] = np.round(ink * np.array(_DIGIT) + (1 - ink) * np.array(_DISC)).astype(np.uint8)
    return out


def disc(mark: Mark, height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels that a mark covers."""
    row, column = _centre(mark, height, width)
    reach = int(mark.radius_px) + 1
    i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = np.hypot(i, j) <= mark.radius_px
    rows, columns = row + i[inside], column + j[inside]
    kept = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return rows[kept], columns[kept]


def _centre(mark: Mark, height: int, width: int) -> tuple[int, int]:
    return int(mark.y * height), int(mark.x * width)


@lru_cache(maxsize=512)
def _digits(number: int, side: int) -> NDArray[np.float64]:
    """(side + 2, side + 2) coverage of a number as large as fits into a disc of that diameter."""
    size = side + 2
    for points in range(side, 4, -1):
        font = ImageFont.load_default(points)
        left, top, right, bottom = font.getbbox(str(number), anchor="lt")
        if np.hypot(right - left, bottom - top) <= side * 0.86:
            break
    canvas = Image.new("L", (size, size), 0)
    at = (size - (right - left)) / 2 - left, (size - (bottom - top)) / 2 - top
    ImageDraw.Draw(canvas).text(at, str(number), fill=255, font=font, anchor="lt")
    return np.asarray(canvas, np.float64) / 255
