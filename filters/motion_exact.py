"""Keeps clips whose stored truth is what their specification says, and explains their frames."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge

from limbeck.errors import SettingError
from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Reasons, Row, Run, settings

_MEASURES = ("flow_error_px", "frame_error", "consistency_px", "zero_flow_ratio")


@settings
class MotionExact(Filter):
    """Renders each clip's first pair again from its specification and compares it with what is stored.

    `flow_error_px`: largest difference of the stored forward flow from the one computed in float64.
    `frame_error`: largest difference of the first magnified frames, in 8-bit steps. `consistency_px`: largest
    `|F(x) + B(x + F(x))|` where the point is seen in both frames and lies inside its layer, B interpolated on its grid.
    `zero_flow_ratio`: how well the stored flow explains what is seen, as the mismatch of the scene at x in one frame
    and at x in the next, over that at x and at x + flow; a true flow has hundreds, a half, double, flipped or swapped
    one about 1. Clips that hardly move have none.
    """

    name: ClassVar = "motion_exact"
    version: ClassVar = 1
    writes: ClassVar = (*tuple(column(name, pa.float64()) for name in _MEASURES), column("fault", pa.string()))
    reasons: ClassVar = ("unreadable", "flow_wrong", "frames_wrong", "inconsistent", "unexplained")

    cutouts: str | None = None
    """Folder of the cut-outs that the clips were made with."""
    image: bool = False
    """The rows' own pictures are the backgrounds (`background = "image"`)."""
    max_flow_error_px: Annotated[float, Decision(), Ge(0)] = 1e-5
    """Largest error of the stored flow; raise it to 0.01 for float16."""
    max_frame_error: Annotated[float, Decision(), Ge(0)] = 1.0
    """Largest error of a magnified frame, in steps of 1/255."""
    max_consistency_px: Annotated[float, Decision(), Ge(0)] = 0.05
    """Largest error of going forward and back; what interpolating the stored grid costs is in it."""
    min_zero_flow_ratio: Annotated[float, Decision(), Ge(0)] = 10.0
    """Least ratio of the mismatches with no flow and with the stored flow."""

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """Specification and truth; the row's picture where it is in the clip."""
        stored = columns("clip_spec", "flow_forward", "flow_backward", "magnified_frames", "layer_ids")
        return (*stored, *columns("image")) if self.image else stored

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Renders again and compares."""
        from limbeck.motion.cutouts import load_folder

        cutouts = {} if self.cutouts is None else load_folder(run.path(self.cutouts))
        return [self._measure(row, cutouts) for row in rows]

    def _measure(self, row: Row, pictures: dict[str, Any]) -> Row:
        from limbeck.motion.checks import measure_pair
        from limbeck.motion.cutouts import load_picture

        nothing: dict[str, Any] = dict.fromkeys((*_MEASURES, "fault"))
        try:
            if self.image:
                name, pixels = load_picture(row["image"])
                pictures = {**pictures, name: pixels[:3]}
            return nothing | measure_pair(row, pictures)
        except (ValueError, KeyError, TypeError, OSError, SettingError) as error:
            return nothing | {"fault": str(error)[:200] or type(error).__name__}

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        asked = {name: [row[name]] for name in (*_MEASURES, "fault")}
        return tuple(reason for reason, dropped in self.decide_columns(asked).items() if dropped[0])

    def decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for whole columns; what wasn't measured is NaN and isn't against a row."""
        flow, frame, consistency, ratio = (np.asarray(columns[name], np.float64) for name in _MEASURES)
        return {
            "unreadable": np.array([fault is not None for fault in columns["fault"]], bool),
            "flow_wrong": flow > self.max_flow_error_px,
            "frames_wrong": frame > self.max_frame_error,
            "inconsistent": consistency > self.max_consistency_px,
            "unexplained": ratio < self.min_zero_flow_ratio,
        }
