"""How scores are spread over the rows of a build, and which thresholds cut them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.outcome import Level, Outcome
from limbeck.report.data import Bound, ScoreHistogram
from limbeck.schema import StageTable
from limbeck.scores import SIMILARITIES

_BINS = 36


def histograms(outcome: Outcome, level: Level) -> Iterator[ScoreHistogram]:
    """Of every numeric column that a filter of this level decides on; thresholds without their pairs."""
    cuts = [cut for table in filters(outcome, level) for cut in bounds(table)]
    for name in decided_on(outcome, level):
        found = histogram(level, name, [bound for score, bound in cuts if score == name])
        if found is not None:
            yield found


def filters(outcome: Outcome, level: Level) -> list[StageTable]:
    """The filters that judged a level's rows."""
    return [outcome.stages[index - 1] for index in level.seen]


def decided_on(outcome: Outcome, level: Level) -> list[str]:
    """Numeric columns that the level's filters decide on, the similarities first."""
    found: dict[str, None] = {}
    for table in filters(outcome, level):
        own = {field.name for field in table.stage.writes}
        for name in table.stage.decides_on():
            stored = table.stored_name(name) if name in own else name
            field = level.frame.field(stored)
            if field is not None and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
                found[stored] = None
    return sorted(found, key=lambda name: SIMILARITIES.index(name) if name in SIMILARITIES else len(SIMILARITIES))


def bounds(table: StageTable) -> Iterator[tuple[str, Bound]]:
    """Score and threshold of a filter that tells them: `bounds()` gives score to (least, greatest) that keep a row."""
    if not hasattr(table.stage, "bounds"):
        return
    own = {field.name for field in table.stage.writes}
    base = table.stage.bounds()
    variants: list[tuple[tuple[str, str] | None, dict]] = [(None, base)]
    variants += [
        ((column, value), stage.bounds()) for column, values in table.by.items() for value, stage in values.items()
    ]
    for only, of_variant in variants:
        for name, pair in of_variant.items():
            stored = table.stored_name(name) if name in own else name
            for side, value, plain in zip(("min", "max"), pair, base[name], strict=True):
                if _can_drop(stored, value) and (only is None or value != plain):
                    yield stored, Bound(table.id, side, float(value), only)


def _can_drop(score: str, value: float) -> bool:
    return math.isfinite(value) and not (score in SIMILARITIES and abs(value) >= 1)  # a cosine never exceeds 1


def histogram(level: Level, name: str, cuts: Sequence[Bound]) -> ScoreHistogram | None:
    """One column over the rows that came so far; None where nobody has it.

    A bin begins at the first threshold, so that no bar lies across the line.
    """
    entered = entered_at(level)
    values = level.frame.array(name).astype(np.float64)
    known = entered[np.isfinite(values[entered])]
    if not len(known):
        return None
    edges = bin_edges(values[known], [bound.value for bound in cuts])
    alive = level.verdicts.alive

    def spread(where: np.ndarray, only: tuple[str, str] | None, drawn: Sequence[Bound]) -> ScoreHistogram:
        kept, dropped = (np.histogram(values[where[mask]], edges)[0] for mask in (alive[where], ~alive[where]))
        return ScoreHistogram(
            name, tuple(edges.tolist()), tuple(kept.tolist()), tuple(dropped.tolist()), tuple(drawn), only
        )

    parts = []
    for only in dict.fromkeys(bound.only for bound in cuts if bound.only):
        own = [bound for bound in cuts if bound.only == only]
        replaced = {(bound.stage, bound.side) for bound in own}
        base = [bound for bound in cuts if bound.only is None and (bound.stage, bound.side) not in replaced]
        parts.append(spread(known[matching(level, only)[known]], only, [*own, *base]))
    whole = spread(known, None, cuts)
    return replace(whole, parts=tuple(parts), missing=len(entered) - len(known))


def entered_at(level: Level) -> np.ndarray:
    """Positions of a level's rows that count: alive, or ended by one of its filters."""
    return np.flatnonzero(level.verdicts.alive | (level.verdicts.ended_by >= 0))


def matching(level: Level, only: tuple[str, str]) -> np.ndarray:
    """(N,) bool: rows whose column has this value."""
    column, value = only
    found = pc.equal(level.frame.column(column).cast(pa.string()), value)
    return pc.fill_null(found, False).to_numpy()


def bin_edges(values: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Edges of round width over values and thresholds, one of them at the first threshold.

    >>> bin_edges(np.array([0.0, 0.36]), [0.205]).round(3)[[0, 1, -1]].tolist()
    [-0.005, 0.005, 0.365]
    """
    low, high = min([float(values.min()), *thresholds]), max([float(values.max()), *thresholds])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / _BINS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    anchor = float(thresholds[0]) if len(thresholds) else 0.0
    first, last = math.floor((low - anchor) / step + 1e-9), math.ceil((high - anchor) / step - 1e-9)
    return anchor + step * np.arange(first, max(last, first + 1) + 1)
