"""What a person sees while a build runs: a bar for each stage in a terminal, plain lines everywhere else.

A stage's number of rows is known once every part has reached it; before, it is projected from the parts that have.
Rates count rows of this run alone: what an earlier run had done comes for nothing and would promise too much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

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
    """Counts what a build tells; the two faces below show it."""

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

    def part_done(self, stage: str, part: int, *, rows: int, kept: int, dropped: int, failed: int, reused: bool) -> None:
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


class ProgressBars(Tally):
    """Bars in a terminal; lines of notes scroll above them."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        """Draws once entered as a context."""
        super().__init__(clock)
        self._console = console
        self._doing = "reading the source"
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self.picture, console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> ProgressBars:
        """Starts to draw."""
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leaves the last picture in the terminal."""
        self._doing = ""
        self._live.stop()

    def doing(self, what: str) -> None:
        """What is going on apart from the stages; shown beside a spinner until told otherwise."""
        self._doing = what

    def planned(self, stages: Sequence[str], parts: int, rows: int) -> None:
        """The bars appear."""
        self._doing = ""
        super().planned(stages, parts, rows)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(Text(text, style="dim"))

    def finishing(self, rows: int) -> None:
        """All stages are through."""
        self._doing = f"writing {rows:,} rows"

    def picture(self) -> Table:
        """The bars as they are now."""
        now = self.clock()
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(ratio=None)
        for _ in range(4):
            table.add_column(justify="right", no_wrap=True)
        for stage, progress in self.stages.items():
            total = progress.total
            bar = ProgressBar(
                total=max(total or 1, 1),
                completed=progress.rows if total else progress.finished,
                width=30,
                complete_style="cyan",
                finished_style="green",
            )
            table.add_row(
                Text(stage, style="bold" if progress.started else ""),
                bar,
                Text(count(progress)),
                Text(_kept(progress), style="dim"),
                Text(speed(progress.rate(now)), style="dim"),
                Text(remaining(progress, now), style="cyan" if not progress.finished else "dim"),
            )
        if self._doing:
            self._spinner.update(text=Text(self._doing, style="dim"))
            outer = Table.grid()
            outer.add_row(table)
            outer.add_row(self._spinner)
            return outer
        return table


class ProgressLines(Tally):
    """Plain lines for files and other programs: one when a stage ends, and at most one every `every_s` seconds."""

    def __init__(self, write: Callable[[str], None], every_s: float = 10.0, clock: Clock = time.monotonic) -> None:
        """`write` gets one line at a time."""
        super().__init__(clock)
        self._write, self._every_s, self._last = write, every_s, clock()

    def __enter__(self) -> ProgressLines:
        """Nothing to set up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to tear down."""

    def doing(self, what: str) -> None:
        """What is going on apart from the stages."""

    def note(self, text: str) -> None:
        """A line of its own."""
        self._write(text)

    def model_loaded(self, name: str, seconds: float) -> None:
        """A line of its own."""
        self._write(f"loaded {name} in {seconds:.1f} s")

    def changed(self, stage: str | None = None) -> None:
        """Writes a stage's line when it ended, and the working ones' now and then."""
        now = self.clock()
        if stage is not None and self.stages[stage].finished:
            self._write(self._line(stage, now))
        elif now - self._last >= self._every_s:
            self._last = now
            for name, progress in self.stages.items():
                if progress.started:
                    self._write(self._line(name, now))

    def _line(self, stage: str, now: float) -> str:
        progress = self.stages[stage]
        said = (count(progress), _kept(progress), speed(progress.rate(now)), remaining(progress, now))
        return f"{stage}: " + ", ".join(word for word in said if word)


def count(progress: StageProgress) -> str:
    """Rows done of all; `~` where the whole is projected.

    >>> count(StageProgress(parts=2, started={0: 64}, under_way={0: 16}))
    '16/~128'
    """
    if progress.total is None:
        return "waiting"
    known = progress.reached == progress.parts
    return f"{progress.rows:,}/{'' if known else '~'}{progress.total:,}"


def _kept(progress: StageProgress) -> str:
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
