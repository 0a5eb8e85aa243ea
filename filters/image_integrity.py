"""Keeps pairs whose two pictures are whole, alike in size, not blank, not the same and not swapped."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le
from PIL import Image

from limbeck.pictures import FAULTS, MAX_PIXELS, Fault, decode
from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Reasons, Row, Run, settings

_MEASURES = ("contrast", "difference", "direction")


@settings
class ImageIntegrity(Filter):
    """Drops pairs with a picture that can't be used, or two that can't be before and after.

    One reason a row for what can't be read: `missing`, `unreadable`, `truncated`, `enormous` (never unpacked),
    `animated`, `not_rgb` (CMYK, Lab, 16 bits a channel). Then `sizes_differ`; `blank`, when either picture is nearly
    one colour; `identical`, when the edit changed next to nothing; and `swapped`, when the pictures changed against
    their captions: before with the after caption and after with the before caption fit better than as they are, which
    is to say that the direction similarity is negative. That is asked only of rows that have `clip_sim_dir`.
    """

    name: ClassVar = "image_integrity"
    version: ClassVar = 1
    reads: ClassVar = columns("original_image", "edited_image")
    writes: ClassVar = (
        column("fault", pa.string()),  # what can't be used, as a reason
        column("detail", pa.string()),  # the same for a person
        column("contrast", pa.float32()),  # the lesser of both pictures' standard deviations, in 0..255
        column("difference", pa.float32()),  # mean absolute difference of the pictures, in [0, 1]
        column("direction", pa.float32()),  # clip_sim_dir, where a stage before made it
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

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Reads both pictures of each row and measures them."""
        return [self._measure(row) | {"direction": row.get("clip_sim_dir")} for row in rows]

    def _measure(self, row: Row) -> Row:
        pictures: list[Image.Image] = []
        for name in ("original_image", "edited_image"):
            picture = decode(row[name], self.max_pixels)
            if isinstance(picture, Fault):
                return _fault(picture.reason, f"{name}: {picture.detail}")
            pictures.append(picture)
        before, after = pictures
        if before.size != after.size:
            sizes = [f"{p.width} x {p.height} px" for p in pictures]
            return _fault("sizes_differ", f"original_image {sizes[0]}, edited_image {sizes[1]}")
        x, y = (np.asarray(p, dtype=np.float32) for p in pictures)  # (H, W, 3) in 0..255
        contrast = min(float(p.std(axis=(0, 1)).max()) for p in (x, y))
        difference = float(np.abs(x - y).mean()) / 255
        return {"fault": None, "detail": None, "contrast": contrast, "difference": difference}

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        if row["fault"]:
            return (row["fault"],)
        low = self._low({name: np.array([row[name]], dtype=np.float32) for name in _MEASURES})
        return tuple(reason for reason, dropped in low.items() if dropped[0])

    def decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for whole columns."""
        fault = np.asarray(columns["fault"], dtype=object)
        masks = {reason: fault == reason for reason in (*FAULTS, "sizes_differ")}
        return masks | self._low({name: np.asarray(columns[name], dtype=np.float32) for name in _MEASURES})

    def _low(self, measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What is below its bound; what wasn't measured is NaN and isn't."""
        return {
            "blank": measured["contrast"] < np.float32(self.min_contrast),
            "identical": measured["difference"] < np.float32(self.min_difference),
            "swapped": measured["direction"] < np.float32(self.min_direction),
        }


def _fault(reason: str, detail: str) -> Row:
    return {"fault": reason, "detail": detail, "contrast": None, "difference": None}
