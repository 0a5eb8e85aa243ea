"""How far a build is, counted from what it tells, and in words.

A stage's number of rows is known once every part has reached it; before, it is projected from the parts that have.
Rates count rows of this run alone: what an earlier run had done comes for nothing and would promise too much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from limbeck.progress import Observer

Clock = Callable[[], float]


@dataclass(frozen=True)
class PartDone:
    """What became of a part's rows at one stage; `reused` where an earlier run had done it."""

    rows: int
    kept: int
    failed: int
    reused: bool


@dataclass
class StageProgress:
    """How far a stage is.

    Attributes:
        parts: parts of the whole build.
        started: incoming rows of parts under way, by part.
        under_way: those of them that have an outcome, by part.
        done: parts that are through.
        since: when the first row of this run began.
        ended: when the last one was through.
    """

    parts: int
    started: dict[int, int] = field(default_factory=dict)
    under_way: dict[int, int] = field(default_factory=dict)
    done: dict[int, PartDone] = field(default_factory=dict)
    since: float | None = None
    ended: float | None = None

    @property
    def rows(self) -> int:
        """Rows with an outcome."""
        return sum(part.rows for part in self.done.values()) + sum(self.under_way.values())

    @property
    def reused(self) -> int:
        """Rows that an earlier run had done."""
        return sum(part.rows for part in self.done.values() if part.reused)

    @property
    def kept(self) -> int:
        """Rows that went on; of a generator, rows made."""
        return sum(part.kept for part in self.done.values())

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return sum(part.failed for part in self.done.values())

    @property
    def reached(self) -> int:
        """Parts that came here."""
        return len(self.done) + len(self.started)

    @property
    def total(self) -> int | None:
        """All rows of the stage: known or projected; None before its first part."""
        if not self.reached:
            return None
        come = sum(part.rows for part in self.done.values()) + sum(self.started.values())
        return round(come * self.parts / self.reached)

    @property
    def finished(self) -> bool:
        """Whether every part is through."""
        return len(self.done) == self.parts

    def rate(self, now: float) -> float | None:
        """Rows a second of this run, or None while nothing is known."""
        fresh = self.rows - self.reused
        took = (self.ended or now) - self.since if self.since is not None else 0.0
        return fresh / took if fresh and took > 0 else None

    def left_s(self, now: float) -> float | None:
        """Seconds to go at that rate."""
        rate = self.rate(now)
        return (self.total - self.rows) / rate if rate and self.total is not None else None


class Tally(Observer):
    """Counts what a build tells; its two faces show it."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """`clock` gives seconds."""
        self.clock = clock
        self.stages: dict[str, StageProgress] = {}

    def planned(self, stages: Sequence[str], parts: int, rows: int) -> None:
        """Sets up a line for each stage."""
        self.stages = {stage: StageProgress(parts) for stage in stages}
        self.changed()

    def part_started(self, stage: str, part: int, rows: int) -> None:
        """A part reached a stage."""
        progress = self.stages[stage]
        progress.done.pop(part, None)
        progress.started[part], progress.under_way[part] = rows, 0
        progress.since = self.clock() if progress.since is None else progress.since
        self.changed()

    def rows_done(self, stage: str, part: int, rows: int) -> None:
        """Some rows have an outcome."""
        self.stages[stage].under_way[part] = self.stages[stage].under_way.get(part, 0) + rows
        self.changed()

    def part_done(
        self, stage: str, part: int, *, rows: int, kept: int, dropped: int, failed: int, reused: bool
    ) -> None:
        """A part left a stage. Heard once more of what this run did (on the way to a later stage), it isn't reused."""
        progress = self.stages[stage]
        if part in progress.done:
            return
        progress.started.pop(part, None)
        progress.under_way.pop(part, None)
        progress.done[part] = PartDone(rows, kept, failed, reused)
        if progress.finished:
            progress.ended = self.clock()
        self.changed(stage)

    def changed(self, stage: str | None = None) -> None:
        """Called after every change; `stage` where a part of it ended."""


def count(progress: StageProgress) -> str:
    """Rows done of all; `~` where the whole is projected.

    >>> count(StageProgress(parts=2, started={0: 64}, under_way={0: 16}))
    '16/~128'
    """
    if progress.total is None:
        return "waiting"
    known = progress.reached == progress.parts
    return f"{progress.rows:,}/{'' if known else '~'}{progress.total:,}"


def went_on(progress: StageProgress) -> str:
    """Rows that went on, and those that failed.

    >>> went_on(StageProgress(2, done={0: PartDone(rows=10, kept=1200, failed=1, reused=False)}))
    '→ 1,200 (1 failed)'
    """
    words = f"→ {progress.kept:,}" if progress.done else ""
    return words + (f" ({progress.failed:,} failed)" if progress.failed else "")


def speed(rate: float | None) -> str:
    """Rows a second, or a minute where they are few.

    >>> speed(1234.5), speed(3.21), speed(0.05), speed(None)
    ('1,234/s', '3.2/s', '3.0/min', '')
    """
    if rate is None:
        return ""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def remaining(progress: StageProgress, now: float) -> str:
    """Time left, or the time it took.

    >>> remaining(StageProgress(1, started={0: 10}, under_way={0: 5}, since=0.0), now=100.0)
    '1:40 left'
    """
    if progress.finished:
        if progress.rows and progress.rows == progress.reused:
            return "done before"
        return "" if progress.since is None else f"took {clock_time((progress.ended or now) - progress.since)}"
    left = progress.left_s(now)
    return "" if left is None else f"{clock_time(left)} left"


def clock_time(seconds: float) -> str:
    """Seconds as a clock shows them.

    >>> clock_time(5), clock_time(100), clock_time(4000), clock_time(200_000)
    ('0:05', '1:40', '1:06:40', '2 d 7:33')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
