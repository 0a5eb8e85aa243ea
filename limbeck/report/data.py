"""What the report shows, as plain values. `collect` fills it from a build, `page` turns it into one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limbeck.report.truth import Truth
from limbeck.summary import Summary

Verdict = Literal["kept", "dropped", "failed"]


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation.

    Attributes:
        role: `user` or `assistant`.
        parts: texts, and numbers of the pictures that stand between them.
        verdict: of an answer that was checked: right, wrong or unchecked.
        detail: what is wrong with it.
    """

    role: str
    parts: tuple[str | int, ...]
    verdict: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Talk:
    """A conversation about pictures.

    Attributes:
        images: encoded pictures, drawn from their scenes where they aren't stored.
        boxes: (picture, name, (x0, y0, x1, y1)) in shares of width and height.
        marks: (picture, number, name, x, y).
        answer: how a closed answer is to be read, and its value.
        program: what computes it.
    """

    turns: tuple[Turn, ...]
    images: tuple[bytes, ...] = ()
    boxes: tuple[tuple[int, str, tuple[float, ...]], ...] = ()
    marks: tuple[tuple[int, int, str, float, float], ...] = ()
    language: str = ""
    template: str = ""
    answer: str = ""
    program: str = ""
    pair_id: str = ""


@dataclass(frozen=True)
class Pair:
    """One row to look at.

    Attributes:
        before: encoded picture, or None where its pixels aren't there any more.
        after: the same after the edit.
        scores: score column to value.
        reasons: why it was dropped, as `stage: reason`.
        facts: seed, shared fraction, guidance and the like.
        talk: the conversation of a visual instruction, which has no before and after.
    """

    id: str
    verdict: Verdict
    instruction: str = ""
    caption_before: str = ""
    caption_after: str = ""
    edit_type: str = ""
    before: bytes | None = None
    after: bytes | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    split: str = ""
    talk: Talk | None = None


@dataclass(frozen=True)
class Bound:
    """A threshold on a score: rows on its wrong side are dropped.

    Attributes:
        value: rows below (`side = "min"`) or above (`side = "max"`) are dropped.
        only: for which rows it holds, as (column, value); None for all that no other bound is for.
        below: pairs just under it, nearest first.
        above: pairs just over it, nearest first.
    """

    stage: str
    side: Literal["min", "max"]
    value: float
    only: tuple[str, str] | None = None
    below: tuple[Pair, ...] = ()
    above: tuple[Pair, ...] = ()

    @property
    def label(self) -> str:
        """As it is written beside its line.

        >>> Bound("clip_pair", "min", 0.2).label, Bound("clip_pair", "max", 0.95, ("edit_type", "add")).label
        ('≥ 0.2', '≤ 0.95 (add)')
        """
        text = f"{'≥' if self.side == 'min' else '≤'} {self.value:g}"
        return f"{text} ({self.only[1]})" if self.only else text


@dataclass(frozen=True)
class ScoreHistogram:
    """How a score is spread over the rows that were judged.

    Attributes:
        edges: (bins + 1,) ascending.
        kept: (bins,) rows kept in the end.
        dropped: (bins,) rows dropped by whatever.
        only: the histogram of one value of a column, where a threshold is for that value alone.
        missing: rows without this score.
    """

    score: str
    edges: tuple[float, ...]
    kept: tuple[int, ...]
    dropped: tuple[int, ...]
    bounds: tuple[Bound, ...] = ()
    only: tuple[str, str] | None = None
    parts: tuple[ScoreHistogram, ...] = ()
    missing: int = 0


@dataclass(frozen=True)
class Failure:
    """A row on which a model failed."""

    id: str
    stage: str
    error: str


@dataclass(frozen=True)
class ReportData:
    """All of a report.

    Attributes:
        kept: a sample of the kept pairs, evenly over kinds of edit.
        dropped: a sample of the dropped ones, evenly over reasons.
        histograms: of every score that a filter decides on.
        failures: the first of them; `summary.failed` counts all.
        truth: edit success where the truth is known (`report/truth.json`), see `limbeck.report.truth`.
        pictures: whether rows have pictures at all.
        pixelated: whether pictures are small enough to be shown enlarged, pixel by pixel.
    """

    summary: Summary
    kept: tuple[Pair, ...] = ()
    dropped: tuple[Pair, ...] = ()
    histograms: tuple[ScoreHistogram, ...] = ()
    failures: tuple[Failure, ...] = ()
    truth: Truth | None = None
    pictures: bool = True
    pixelated: bool = False
