"""COCO's masks: polygons, and run lengths as numbers or as their text."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def paint(mask: Image, segmentation: Any, number: int) -> str:
    """Paints one thing's pixels.

    Args:
        mask: mode L, of the picture's size; changed in place.
        segmentation: as an annotation has it: polygons, run lengths, or nothing.
        number: what its pixels become.

    Returns:
        What of it was left out; "" where nothing was.
    """
    if not segmentation:
        return ""
    if isinstance(segmentation, dict):
        pixels = _of_runs(segmentation, mask.height, mask.width)
        if pixels is None:
            return "whose run lengths don't make up the picture"
        mask.paste(number, mask=_stencil(pixels))
        return ""
    from PIL import ImageDraw

    polygons = segmentation if isinstance(segmentation, list) else [None]
    usable = [p for p in polygons if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 and _are_numbers(p)]
    for polygon in usable:
        ImageDraw.Draw(mask).polygon([float(v) for v in polygon], fill=number)
    return "" if len(usable) == len(polygons) else "with a polygon that is no [x, y, x, y, x, y, ...]"


def _of_runs(runs: dict[str, Any], height: int, width: int) -> np.ndarray | None:
    """(H, W) bool; None where the runs are not of this size.

    Convention: runs go down the columns, from the left; nothing first, the thing second, and so on.
    """
    counts = runs.get("counts")
    if isinstance(counts, str):
        counts = unpack(counts)
    if runs.get("size") != [height, width] or not isinstance(counts, list) or not _are_numbers(counts):
        return None
    if any(count < 0 or count != int(count) for count in counts) or sum(counts) != height * width:
        return None
    pixels = np.zeros(height * width, bool)
    ends = np.cumsum([0, *counts], dtype=np.int64)
    for turn, (start, end) in enumerate(pairwise(ends)):
        pixels[start:end] = turn % 2
    return pixels.reshape(width, height).T


def unpack(text: str) -> list[int] | None:
    """Run lengths of their text; None where it is none.

    Five bits a letter, from the lowest; 32 says that more follow, 16 of the last one that the number is negative. From the
    fourth run on, numbers are differences from the run before the last.

    Source: pycocotools, `rleFrString`.

    >>> unpack("52203")
    [5, 2, 2, 2, 5]
    """
    counts: list[int] = []
    value = bits = 0
    for letter in text:
        part = ord(letter) - 48
        if not 0 <= part < 64:
            return None
        value |= (part & 31) << bits
        bits += 5
        if part & 32:
            continue
        if part & 16:
            value -= 1 << bits
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = bits = 0
    return None if bits else counts


def _stencil(pixels: np.ndarray) -> Image:
    from PIL import Image

    return Image.fromarray((pixels * 255).astype(np.uint8))


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
