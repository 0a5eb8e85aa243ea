"""Keeps pairs whose two pictures are whole, alike in size, not blank, not the same and not swapped."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le
from PIL import Image

from limbeck.pictures import FAULTS, MAX_PIXELS, Fault, decode
from limbeck.records import column, columns
from limbeck.stage import Decision, Drop, Filter, Reasons, Row, Run, settings

_PAIR = ("original_image", "edited_image")


@settings
class ImageIntegrity(Filter):
    """Drops pairs with a picture that can't be used, or two that can't be before and after.

    What can't be used has one reason a row: `missing`, `unreadable`, `truncated`, `enormous` (never unpacked),
    `animated`, `not_rgb` (CMYK, Lab, 16 bits a channel), `sizes_differ`. Of the others it drops the `blank`, with a
    picture of nearly one colour; the `identical`, where the edit changed next to nothing; and the `swapped`, which
    changed against their captions: each picture fits the other's caption better than its own, which is to say that
    the direction similarity is negative. That is asked where a stage before made `clip_sim_dir`.
    """

    name: ClassVar = "image_integrity"
    version: ClassVar = 1
    reads: ClassVar = columns(*_PAIR)
    writes: ClassVar = (
        column("contrast", pa.float32()),  # the lesser of both pictures' standard deviations, in 0..255
        column("difference", pa.float32()),  # mean absolute difference of the pictures, in [0, 1]
    )
    reasons: ClassVar = (*FAULTS, "sizes_differ", "blank", "identical", "swapped")

    max_pixels: Annotated[int, Gt(0)] = MAX_PIXELS
    """Width x height above which a picture is `enormous`."""
    min_contrast: Annotated[float, Decision(), Ge(0)] = 2.0
    """Least standard deviation of a picture's pixels, in 0..255; below it is `blank`."""
    min_difference: Annotated[float, Decision(), Ge(0), Le(1)] = 0.0002
    """Least mean absolute difference of both pictures, in [0, 1]; below it they are `identical`."""
    min_direction: Annotated[float, Decision(), Ge(-1), Le(1)] = -0.1
    """Direction similarity below which the pictures count as `swapped`; -1 never asks."""

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Least and greatest value of each measure that keeps a row."""
        return {"contrast": (self.min_contrast, math.inf), "difference": (self.min_difference, math.inf)}

    def decides_if_there(self) -> tuple[str, ...]:
        """The direction similarity."""
        return ("clip_sim_dir",)

    def score(self, rows: list[Row], run: Run) -> list[Row | Drop]:
        """Reads both pictures of each row and measures them."""
        return [self._measure(row) for row in rows]

    def _measure(self, row: Row) -> Row | Drop:
        pictures: list[Image.Image] = []
        for name in _PAIR:
            picture = decode(row[name], self.max_pixels)
            if isinstance(picture, Fault):
                return Drop(row["id"], picture.reason, f"{name}: {picture.detail}")
            pictures.append(picture)
        if pictures[0].size != pictures[1].size:
            sizes = (f"{name} {p.width} x {p.height} px" for name, p in zip(_PAIR, pictures, strict=True))
            return Drop(row["id"], "sizes_differ", ", ".join(sizes))
        x, y = (np.asarray(p, dtype=np.float32) for p in pictures)  # (H, W, 3) in 0..255
        contrast = min(float(p.std(axis=(0, 1)).max()) for p in (x, y))
        return {"contrast": contrast, "difference": float(np.abs(x - y).mean()) / 255}

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        masks = self.decide_columns({name: np.array([value], dtype=object) for name, value in row.items()})
        return tuple(reason for reason, dropped in masks.items() if dropped[0])

    def decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for whole columns; what has no score isn't below its bound."""
        least = {
            "blank": ("contrast", self.min_contrast),
            "identical": ("difference", self.min_difference),
            "swapped": ("clip_sim_dir", self.min_direction),
        }
        return {
            reason: np.asarray(columns[name], dtype=np.float32) < np.float32(value)
            for reason, (name, value) in least.items()
            if name in columns
        }
