"""Fills `ReportData` from a build: which rows to show, how scores are spread, what lies near each threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from limbeck.decisions import ERROR
from limbeck.frames import taken
from limbeck.outcome import Level, Outcome
from limbeck.report import truth
from limbeck.report.data import Bound, Failure, Pair, ReportData, ScoreHistogram
from limbeck.report.page import SMALL_PX
from limbeck.report.sample import distinct, evenly, nearest, shuffled
from limbeck.report.shelf import Shelf
from limbeck.report.spread import decided_on, entered_at, histograms, matching
from limbeck.tally import reasons_of, tally

if TYPE_CHECKING:
    from limbeck.built import Build

KEPT = 36
"""Kept pairs that are shown."""
DROPPED = 24
"""Dropped pairs that are shown."""
NEAR = 3
"""Pairs shown on either side of a threshold."""
FAILURES = 50
_CANDIDATES = 20_000


def collect(build: Build) -> ReportData:
    """Everything that the report shows of a build."""
    outcome = build.outcome
    level = outcome.last
    shelf = Shelf(build, decided_on(outcome, level))
    alive = np.flatnonzero(level.verdicts.alive)
    gone = np.flatnonzero((level.verdicts.ended_by >= 0) & ~level.verdicts.failed)
    kept = shelf.pairs(_evenly(level, alive, lambda where: _edit_types(level, where), KEPT))
    tried = shelf.pairs(
        _evenly(level, gone, lambda where: [r[0] if r else "" for r in reasons_of(level, where)], 2 * DROPPED)
    )
    dropped = sorted(tried, key=lambda pair: not (pair.before or pair.after))[
        :DROPPED
    ]  # rejects may have lost their pictures
    return ReportData(
        summary=tally(build),
        kept=tuple(kept),
        dropped=tuple(dropped),
        histograms=tuple(
            _with_pairs(h, of, shelf) if of is level else h for of in outcome.levels for h in histograms(outcome, of)
        ),
        failures=tuple(_failures(outcome)),
        truth=truth.read(build.path / "report" / "truth.json"),
        pictures=any(
            level.frame.field(name) is not None for name in ("original_image", "edited_image", "preview", "images")
        ),
        pixelated=_small([*kept, *dropped]),
    )


def _edit_types(level: Level, where: np.ndarray) -> list[Any]:
    """Of each row what it is evenly drawn by: the kind of edit; the kind of question and its language."""
    names = [name for name in ("edit_type", "question_type", "language") if level.frame.field(name) is not None]
    columns = [taken(level.frame.column(name), pa.array(where)).to_pylist() for name in names]
    return list(zip(*columns, strict=True)) if columns else [None] * len(where)


def _evenly(level: Level, where: np.ndarray, kinds: Callable[[np.ndarray], Sequence], most: int) -> list[int]:
    """A sample that is the same every time, evenly over kinds, one row of each source before a second of any."""
    where = where[:: max(1, len(where) // _CANDIDATES)]
    ids = level.frame.ids.take(pa.array(where)).to_pylist()
    of = kinds(where)
    return [int(where[i]) for i in evenly(((i, of[i], ids[i].partition("/")[0]) for i in shuffled(ids)), most)]


def _with_pairs(h: ScoreHistogram, level: Level, shelf: Shelf) -> ScoreHistogram:
    """The histogram with the pairs nearest to each threshold; siblings look alike, so one of a family."""
    values = level.frame.array(h.score).astype(np.float64)
    entered = np.zeros(len(values), bool)
    entered[entered_at(level)] = True

    def near(bound: Bound) -> Bound:
        where = entered.copy()
        if bound.only:
            where &= matching(level, bound.only)
        for other in h.bounds if not bound.only else ():
            if other.only and (other.stage, other.side) == (bound.stage, bound.side):
                where &= ~matching(level, other.only)
        sides = nearest(values, bound.value, bound.side, np.flatnonzero(where), 20 * NEAR)
        families = (level.frame.column("parent_id").take(pa.array(side, pa.int64())).to_pylist() for side in sides)
        below, above = (distinct(side, family, NEAR) for side, family in zip(sides, families, strict=True))
        return replace(bound, below=tuple(shelf.pairs(below)), above=tuple(shelf.pairs(above)))

    return replace(h, bounds=tuple(near(bound) for bound in h.bounds))


def _failures(outcome: Outcome) -> Iterator[Failure]:
    """The first rows on which a model failed, stage by stage."""
    found = 0
    for level in outcome.levels:
        ended = level.ended.filter(pc.starts_with(level.ended["reason"], ERROR)).slice(0, FAILURES - found)
        for row in ended.to_pylist():
            yield Failure(row["id"], outcome.name(level.stage), _said(row["reason"], row["detail"]))
        found += ended.num_rows
        where = np.flatnonzero(level.verdicts.failed)[: FAILURES - found]
        for position, reasons in zip(where, reasons_of(level, where), strict=True):
            row_id = level.frame.ids[int(position)].as_py()
            stage = outcome.name(int(level.verdicts.ended_by[position]))
            yield Failure(row_id, stage, _said(", ".join(reasons), level.details.get(row_id)))
        found += len(where)


def _said(reason: str, detail: str | None) -> str:
    return f"{reason.removeprefix(ERROR)}: {detail}" if detail else reason.removeprefix(ERROR)


def _small(pairs: Sequence[Pair]) -> bool:
    for pair in pairs:
        shown = pair.before or pair.after or (pair.talk.images[0] if pair.talk and pair.talk.images else b"")
        try:
            return max(Image.open(BytesIO(shown)).size) <= SMALL_PX
        except Exception:  # whatever Pillow makes of foreign bytes: the next pair tells
            continue
    return False
