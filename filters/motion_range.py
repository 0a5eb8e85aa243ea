"""Keeps clips whose motion is of the wanted size, by their labels: nothing is rendered."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge

from limbeck.motion.curriculum import STILL
from limbeck.records import columns
from limbeck.stage import Decision, Filter, Reasons, Row, settings


@settings
class MotionRange(Filter):
    """Drops clips that move too little or too much, are magnified too much, or alias.

    Subsets that are at rest on purpose are never `too_small`. What is compared is the largest displacement from rest
    that the labels state.
    """

    name: ClassVar = "motion_range"
    version: ClassVar = 1
    reads: ClassVar = columns("peak_px", "magnified_peak_px", "aliased", "subset")
    reasons: ClassVar = ("too_small", "too_large", "magnified_too_large", "aliased")

    min_peak_px: Annotated[float, Decision(), Ge(0)] = 0.01
    """Least motion of the input, in px."""
    max_peak_px: Annotated[float, Decision(), Ge(0)] = 10.0
    """Most motion of the input, in px."""
    max_magnified_px: Annotated[float, Decision(), Ge(0)] = 30.0
    """Most motion of any magnified version, in px."""
    keep_aliased: Annotated[bool, Decision()] = False
    """Keep clips in which something vibrates above half the frame rate."""

    def decides_on(self) -> tuple[str, ...]:
        """Labels alone."""
        return ("peak_px", "magnified_peak_px", "aliased", "subset")

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        asked = {name: [row[name]] for name in ("peak_px", "magnified_peak_px", "aliased", "subset")}
        return tuple(reason for reason, dropped in self.decide_columns(asked).items() if dropped[0])

    def decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for whole columns."""
        peak = np.asarray(columns["peak_px"], np.float64)
        magnified = np.array([max(values, default=0.0) for values in columns["magnified_peak_px"]])
        still = np.isin(np.asarray(columns["subset"], dtype=object).astype(str), STILL)
        return {
            "too_small": (peak < self.min_peak_px) & ~still,
            "too_large": peak > self.max_peak_px,
            "magnified_too_large": magnified > self.max_magnified_px * (1 + 1e-9),
            "aliased": np.asarray(columns["aliased"], bool) & (not self.keep_aliased),
        }
