"""What a build takes, from a few measured rows: time, disk, tokens and money, each with how far off it may be.

The rows go through the whole line in small parts. The first part pays for loading and warming up; the later ones
tell the pace, and their spread how sure it is. Intervals are Student's t over parts or source rows, at 95%.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from limbeck import sources, store
from limbeck.building import build
from limbeck.built import Build
from limbeck.errors import SourceError
from limbeck.progress import Observer
from limbeck.recipe import Recipe, load
from limbeck.stage import Drop, models_of


@dataclass(frozen=True)
class Amount:
    """A quantity and the interval in which it lies in 19 of 20 cases; `nan` where too little was measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What the whole build takes.

    Attributes:
        rows: source rows of the whole build.
        measured: source rows that were measured.
        kept: rows that are kept in the end.
        seconds: from start to end on this machine.
        loading_s: of that, loading models.
        bytes: on disk.
        stage_share: share of the computing time by stage.
        prompt_tokens: of paid calls.
        completion_tokens: of paid calls.
        cost: of paid calls in `currency`; None where the recipe gives no price.
        caveats: what the figures don't know.
    """

    rows: int
    measured: int
    kept: Amount
    seconds: Amount
    loading_s: float
    bytes: Amount
    stage_share: dict[str, float]
    prompt_tokens: Amount | None = None
    completion_tokens: Amount | None = None
    cost: Amount | None = None
    currency: str = "USD"
    caveats: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        return asdict(self)


def estimate(
    recipe: str | Path | Recipe, rows: int = 8, *, sets: Sequence[str] = (), observer: Observer | None = None
) -> Estimate:
    """Builds `rows` source rows in a temporary folder and extrapolates; paid calls among them are paid.

    Args:
        recipe: as for `limbeck.build`.
        rows: source rows to measure.
        sets: overrides.
        observer: is told of the progress.

    Raises:
        SourceError: the source has no rows.
        RequestError: as `limbeck.build` does.
        WorkError: the same.
    """
    whole = load(recipe, sets=sets)
    total = sum(not isinstance(row, Drop) for row in sources.rows(whole.source, whole.folder, whole.dataset.seed))
    rows = min(rows, total)
    if not rows:
        raise SourceError("there are no rows to measure", where=f"source.{whole.source.kind}")
    part_rows = max(1, rows // 8)
    watch = _Stopwatch(observer or Observer(), whole.stages[-1].id)
    with TemporaryDirectory(prefix="limbeck-estimate-") as folder:
        few = load(recipe, sets=[*sets, f"run.part_rows={part_rows}"])
        built = build(few, Path(folder) / "out", limit=rows, observer=watch)
        return _extrapolated(built, whole, watch, total, rows)


class _Stopwatch(Observer):
    """Notes when parts leave the line, and passes everything on."""

    def __init__(self, then: Observer, last_stage: str) -> None:
        self._then, self._last_stage = then, last_stage
        self.start = time.perf_counter()
        self.loading_s = 0.0
        self.left: list[float] = []
        # What it has no interest in goes straight on.
        self.planned, self.part_started, self.rows_done = then.planned, then.part_started, then.rows_done
        self.note, self.finishing = then.note, then.finishing

    def model_loaded(self, name: str, seconds: float) -> None:
        """Adds up the loading."""
        self.loading_s += seconds
        self._then.model_loaded(name, seconds)

    def part_done(self, stage: str, part: int, **counts: Any) -> None:
        """Notes the moment when a part is through."""
        if stage == self._last_stage:
            self.left.append(time.perf_counter())
        self._then.part_done(stage, part, **counts)


def extrapolate(samples: Sequence[float], times: float) -> Amount:
    """The sum of `times` more of what the samples are of; their spread gives the interval.

    >>> extrapolate([2.0, 2.0, 2.0], 10)
    Amount(value=20.0, low=20.0, high=20.0)
    >>> round(extrapolate([1.0, 3.0], 10).high)  # t(0.975, 1 degree) = 12.706 standard errors of 1
    147
    """
    from scipy.stats import t

    count = len(samples)
    mean = sum(samples) / count
    if count < 2:
        return Amount(mean * times, math.nan, math.nan)
    error = math.sqrt(sum((x - mean) ** 2 for x in samples) / (count - 1) / count)
    margin = float(t.ppf(0.975, count - 1)) * error
    return Amount(mean * times, max(0.0, mean - margin) * times, (mean + margin) * times)


def _extrapolated(built: Build, whole: Recipe, watch: _Stopwatch, total: int, rows: int) -> Estimate:
    parts = len(built.parts)
    scale = total / rows * parts  # as many such parts make the whole
    leaving = sorted(watch.left)
    gaps = [after - before for before, after in pairwise(leaving)]
    first = leaving[0] - watch.start
    pace = extrapolate(gaps or [first], max(0.0, scale - 1))
    seconds = Amount(*(first + value for value in (pace.value, pace.low, pace.high)))
    counters, spent = built.counters(), built.spent()
    computing = {stage: found.get("seconds", 0.0) for stage, found in counters.items()}
    sums = sum(computing.values()) or 1.0
    paid = {name: _by_part(built, name) for name in ("prompt_tokens", "completion_tokens")} if spent else {}
    tokens = {name: extrapolate(values, scale) for name, values in paid.items() if any(values)}
    return Estimate(
        rows=total,
        measured=rows,
        kept=extrapolate(_kept_by_source(built, rows), total),
        seconds=seconds,
        loading_s=watch.loading_s,
        bytes=extrapolate(_bytes_by_part(built), scale),
        stage_share={stage: value / sums for stage, value in computing.items() if value},
        cost=_cost(built, tokens, paid),
        currency=whole.dataset.currency,
        caveats=_caveats(whole, rows),
        **tokens,
    )


def _kept_by_source(built: Build, rows: int) -> list[int]:
    kept: dict[str, int] = {}
    for row in built.rows(columns=["source_id"]):
        kept[row["source_id"]] = kept.get(row["source_id"], 0) + 1
    return [*kept.values(), *[0] * (rows - len(kept))]


def _by_part(built: Build, counter: str) -> list[float]:
    """What the stages counted, part by part."""
    sums = []
    for part in built.parts:
        manifests = [store.read_manifest(built.folder(i), part) for i in range(1, len(built.recipe.stages) + 1)]
        sums.append(sum(m["counters"].get(counter, 0) for m in manifests if m))
    return sums


def _bytes_by_part(built: Build) -> list[float]:
    """Files of each part, and its share of everything else but the report."""
    own = {part: 0 for part in built.parts}
    for part in own:
        own[part] = sum(file.stat().st_size for file in built.path.glob(f"stages/*/{store.part_name(part)}.*"))
    rest = sum(
        f.stat().st_size for folder in ("data", "journal") for f in (built.path / folder).rglob("*") if f.is_file()
    )
    return [size + rest / len(own) for size in own.values()]


def _cost(built: Build, tokens: dict[str, Amount], paid: dict[str, list[float]]) -> Amount | None:
    """In proportion to the tokens; None where a price isn't known."""
    amounts = [each.cost for each in built.spent().values()]
    measured = sum(sum(values) for values in paid.values())
    if not measured or None in amounts:
        return None
    price = sum(amounts) / measured
    return Amount(*(price * sum(getattr(t, bound) for t in tokens.values()) for bound in ("value", "low", "high")))


def _caveats(recipe: Recipe, rows: int) -> list[str]:
    used = {name for table in recipe.stages for name, _ in models_of(table.stage).values()}
    slots = max((recipe.models[name].concurrency for name in used if recipe.models[name].is_endpoint), default=0)
    found = []
    if slots > rows:
        found.append(f"at most {rows} requests were in flight, the whole build has up to {slots}: it will be quicker")
    if any(hasattr(table.stage, "decide_all") for table in recipe.stages):
        found.append("duplicates grow with the number of rows: fewer may be kept")
    return found
