"""Geometry of the report's figures: plain numbers in, positions in percent out; the template draws them as SVG.

Convention: x in percent of the figure's width from the left, y in percent of its height from the top. Percentages
let a figure follow the page's width while its text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limbeck.report.data import ScoreHistogram
from limbeck.report.truth import CurvePoint


@dataclass(frozen=True)
class Bar:
    """One bin: dropped rows stand on kept ones. `kept_y + kept_height == 100`."""

    x: float
    width: float
    kept_y: float
    kept_height: float
    dropped_y: float
    dropped_height: float
    words: str


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A threshold: `anchor` is the side on which its label has room; a `partial` one is for some rows only."""

    x: float
    label: str
    anchor: str
    row: int
    partial: bool


@dataclass(frozen=True)
class HistogramFigure:
    """A histogram, ready to draw; `shade` are the spans (x, width) of the scores that a threshold turns away."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    shade: tuple[tuple[float, float], ...]
    top: int


@dataclass(frozen=True)
class CurveFigure:
    """Precision with its interval, and recall, against a threshold: point lists in percent, and the lines in use."""

    line: str
    band: str
    recall: str
    cuts: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    dots: tuple[tuple[float, float, str], ...]


def nice_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round values within [low, high], about `most` of them.

    >>> nice_ticks(0.0, 1.0)
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    >>> nice_ticks(0.13, 0.42)
    (0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
    """
    if not high > low:
        return (low,)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 10) + 0.0 for i in range(first, last + 1))


def histogram(h: ScoreHistogram) -> HistogramFigure:
    """Positions of a histogram's bars, its axis and its thresholds.

    >>> from limbeck.report.data import Bound
    >>> figure = histogram(ScoreHistogram("s", (0.0, 0.5, 1.0), (3, 1), (1, 0), (Bound("f", "min", 0.5),)))
    >>> [(bar.x, bar.kept_height, bar.dropped_height) for bar in figure.bars]
    [(0.0, 75.0, 25.0), (50.0, 25.0, 0.0)]
    >>> figure.lines[0].x, figure.shade
    (50.0, ((0.0, 50.0),))
    """
    low, high = h.edges[0], h.edges[-1]
    span = (high - low) or 1.0
    top = max((k + d for k, d in zip(h.kept, h.dropped, strict=True)), default=0)

    def at(value: float) -> float:
        return round(100 * (min(max(value, low), high) - low) / span, 4)

    bars = []
    for a, b, kept, dropped in zip(h.edges, h.edges[1:], h.kept, h.dropped, strict=False):
        if not kept + dropped:
            continue
        kept_height, dropped_height = (round(100 * n / top, 4) for n in (kept, dropped))
        words = f"{a:.3g} to {b:.3g}: {kept:,} kept, {dropped:,} dropped"
        bars.append(
            Bar(
                at(a),
                round(at(b) - at(a), 4),
                100 - kept_height,
                kept_height,
                100 - kept_height - dropped_height,
                dropped_height,
                words,
            )
        )
    ticks = tuple(Tick(at(value), f"{value:g}") for value in nice_ticks(low, high))
    lines = tuple(
        Line(at(bound.value), bound.label, "start" if at(bound.value) < 70 else "end", row, bound.only != h.only)
        for row, bound in enumerate(h.bounds)
    )
    whole = [bound for bound in h.bounds if bound.only in (None, h.only)]
    return HistogramFigure(
        tuple(bars), ticks, lines, tuple(_shade(at(bound.value), bound.side) for bound in whole), top
    )


def _shade(x: float, side: str) -> tuple[float, float]:
    return (0.0, x) if side == "min" else (x, round(100 - x, 4))


def curve(points: Sequence[CurvePoint], cuts: Sequence[float] = ()) -> CurveFigure:
    """Precision and recall against a threshold; y from 0 to 1.

    >>> curve([CurvePoint(0.0, 0.5), CurvePoint(1.0, 1.0)]).line
    '0.00,50.00 100.00,0.00'

    Args:
        points: in any order.
        cuts: thresholds in use, drawn where they fall within the curve.
    """
    points = sorted(points, key=lambda p: p.threshold)
    low, high = points[0].threshold, points[-1].threshold
    span = (high - low) or 1.0

    def at(threshold: float) -> float:
        return 100 * (threshold - low) / span

    def trace(pairs: Iterable[tuple[float, float | None]]) -> str:
        return " ".join(f"{at(x):.2f},{100 * (1 - min(max(y, 0), 1)):.2f}" for x, y in pairs if y is not None)

    sure = [p for p in points if p.low is not None and p.high is not None]
    return CurveFigure(
        trace((p.threshold, p.precision) for p in points),
        trace([*((p.threshold, p.high) for p in sure), *((p.threshold, p.low) for p in reversed(sure))]),
        trace((p.threshold, p.recall) for p in points),
        tuple(
            Line(round(at(cut), 4), f"{cut:g}", "start" if at(cut) < 70 else "end", 0, False)
            for cut in cuts
            if low <= cut <= high
        ),
        tuple(Tick(round(at(v), 4), f"{v:g}") for v in nice_ticks(low, high)),
        tuple(Tick(100 - 25 * i, f"{25 * i}%") for i in range(5)),
        tuple((at(p.threshold), 100 * (1 - p.precision), p.words) for p in points),
    )
