"""Edit success where the truth is known: what an evaluation leaves in OUT/report/truth.json.

    {"before": {"n": 2000, "right": 1100, "low": 0.53, "high": 0.57},
     "after":  {"n": 400, "right": 330},
     "gain": {"low": 1.4, "high": 1.6},
     "reader_error": 0.01,
     "curve": [{"threshold": 0.2, "precision": 0.7, "low": 0.66, "high": 0.74, "recall": 0.5, "n": 800}, ...],
     "score": "clip_sim_dir",
     "by_edit_type": {"add": {"before": {"n": 200, "right": 90}, "after": {"n": 30, "right": 25}}, ...},
     "happened": 0.6, "stayed": 0.8, "note": "..."}

Only `before` and `after` with `n` and `right` are needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_Share = Annotated[float, Field(ge=0, le=1)]
_LENIENT = ConfigDict(extra="ignore", frozen=True)


class Success(BaseModel):
    """How many of `n` pairs are right, with the bounds of the share's interval where they were computed.

    Attributes:
        recall: of all right pairs, how many are among these.
    """

    model_config = _LENIENT
    n: Annotated[int, Field(ge=0)]
    right: Annotated[int, Field(ge=0)]
    low: _Share | None = None
    high: _Share | None = None
    recall: _Share | None = None

    @property
    def share(self) -> float:
        """Right ones of all, in [0, 1]."""
        return self.right / self.n if self.n else 0.0


class CurvePoint(BaseModel):
    """Of the rows at or above `threshold`, the share that is right; `recall` of all right ones, how many are there."""

    model_config = _LENIENT
    threshold: float
    precision: _Share
    low: _Share | None = None
    high: _Share | None = None
    recall: _Share | None = None
    n: int | None = None

    def __init__(self, threshold: float, precision: float, **rest) -> None:
        super().__init__(threshold=threshold, precision=precision, **rest)

    @property
    def words(self) -> str:
        """As a tooltip has it."""
        text = f"at {self.threshold:.3g}: {self.precision:.0%} right"
        if self.low is not None and self.high is not None:
            text += f" ({self.low:.0%} to {self.high:.0%})"
        if self.recall is not None:
            text += f", {self.recall:.0%} of the right ones kept"
        return text + (f", {self.n:,} rows" if self.n is not None else "")


class Gain(BaseModel):
    """Interval of the share after over the share before."""

    model_config = _LENIENT
    low: float | None = None
    high: float | None = None


class ByType(BaseModel):
    """The same of one kind of edit."""

    model_config = _LENIENT
    before: Success
    after: Success


class Truth(BaseModel):
    """Edit success before and after filtering.

    Attributes:
        reader_error: error of the recogniser that judged, as a share.
        score: the score that `curve` cuts.
        by_edit_type: the same by kind of edit.
        happened: share of all pairs in which the edit happened.
        stayed: share of all pairs in which the rest stayed.
        note: how it was measured.
    """

    model_config = _LENIENT
    before: Success
    after: Success
    gain: Gain | None = None
    reader_error: float | None = None
    curve: tuple[CurvePoint, ...] = ()
    score: str = ""
    by_edit_type: dict[str, ByType] = {}
    happened: _Share | None = None
    stayed: _Share | None = None
    note: str = ""

    @property
    def factor(self) -> float | None:
        """How many times the share before the share after is."""
        return self.after.share / self.before.share if self.before.right else None


def read(path: Path) -> Truth | None:
    """The evaluation's figures, or None where there are none that can be read."""
    try:
        return Truth.model_validate(orjson.loads(path.read_bytes()))
    except (OSError, orjson.JSONDecodeError, ValidationError):
        return None
