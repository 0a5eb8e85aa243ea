"""What a person sees while a student is trained: a bar for each step in a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from distill.progress import Watcher
from flows.progress_tally import Clock, clock_time, speed

_SHOWN = 12
"""Steps on the screen; with arms there are dozens, and those that ended long ago scroll away."""


@dataclass
class Step:
    """How far a step is.

    Attributes:
        first: where this run took it up; what was done before comes for nothing and promises nothing.
    """

    total: int | None
    unit: str
    since: float
    first: int | None = None
    done: int = 0
    ended: float | None = None
    reused: bool = False
    figures: Mapping[str, float] | None = None

    def rate(self, now: float) -> float | None:
        """Units a second of this run."""
        fresh, took = self.done - (self.first or 0), (self.ended or now) - self.since
        return fresh / took if fresh > 0 and took > 0 else None

    def left(self, now: float) -> str:
        """Time left, or the time it took.

        >>> Step(100, "steps", since=0.0, first=0, done=50).left(now=10.0)
        '0:10 left'
        """
        if self.ended is not None:
            return "done before" if self.reused else f"took {clock_time(self.ended - self.since)}"
        rate = self.rate(now)
        return f"{clock_time((self.total - self.done) / rate)} left" if rate and self.total else ""

    def said(self) -> str:
        """The newest figures.

        >>> Step(1, "steps", 0.0, figures={"loss": 0.12345, "zero_shot": 0.9}).said()
        'loss 0.123, zero_shot 0.9'
        """
        return ", ".join(f"{name} {value:.3g}" for name, value in (self.figures or {}).items())


class DistillTally(Watcher):
    """Counts what a distillation tells; its two faces show it."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        """`clock` gives seconds."""
        self.clock = clock
        self.steps: dict[str, Step] = {}

    def started(self, step: str, total: int | None, unit: str = "") -> None:
        """A new line."""
        self.steps[step] = Step(total, unit, self.clock())

    def advanced(self, step: str, done: int, figures: Mapping[str, float] | None = None) -> None:
        """The line moves; what is done at its first word was done before."""
        line = self.steps[step]
        if line.first is None:
            line.first, line.since = done if figures is None else 0, line.since
        line.done, line.figures = done, figures or line.figures

    def finished(self, step: str, reused: bool = False) -> None:
        """The line ends."""
        line = self.steps[step]
        line.ended, line.reused = self.clock(), reused
        line.done = line.total if line.total is not None else line.done


class DistillBars(DistillTally):
    """Bars in a terminal."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        """Draws once entered as a context."""
        super().__init__(clock)
        self._console = console
        self._live = Live(get_renderable=self.picture, console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> DistillBars:
        """Starts to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the last picture in the terminal."""
        self._live.stop()

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(Text(text, style="dim"))

    def picture(self) -> Table:
        """The bars as they are now."""
        now = self.clock()
        table = Table.grid(padding=(0, 2))
        for name, step in list(self.steps.items())[-_SHOWN:]:
            ended = step.ended is not None
            bar = ProgressBar(
                total=step.total or 1,
                completed=step.done if step.total else int(ended),
                pulse=not step.total and not ended,
                width=24,
                complete_style="cyan",
                finished_style="green",
            )
            count = f"{step.done:,}/{step.total:,}" if step.total else ""
            table.add_row(
                Text(name, style="" if ended else "bold"),
                bar,
                Text(count, justify="right"),
                Text(speed(step.rate(now)), style="dim", justify="right"),
                Text(step.left(now), style="dim" if ended else "cyan", justify="right"),
                Text(step.said(), style="dim"),
            )
        return table


class DistillLines(DistillTally):
    """Plain lines for files and other programs: one when a step ends, and at most one every `every_s` seconds."""

    def __init__(self, write: Callable[[str], None], every_s: float = 10.0, clock: Clock = time.monotonic) -> None:
        """`write` gets one line at a time."""
        super().__init__(clock)
        self._write, self._every_s, self._last = write, every_s, clock()

    def __enter__(self) -> DistillLines:
        """Nothing to set up."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to tear down."""

    def note(self, text: str) -> None:
        """A line of its own."""
        self._write(text)

    def advanced(self, step: str, done: int, figures: Mapping[str, float] | None = None) -> None:
        """Now and then a line."""
        super().advanced(step, done, figures)
        if self.clock() - self._last >= self._every_s:
            self._last = self.clock()
            self._write(self._line(step))

    def finished(self, step: str, reused: bool = False) -> None:
        """Always a line."""
        super().finished(step, reused)
        self._write(self._line(step))

    def _line(self, name: str) -> str:
        step, now = self.steps[name], self.clock()
        count = f"{step.done:,}/{step.total:,} {step.unit}".rstrip() if step.total else ""
        said = (count, "" if step.reused else speed(step.rate(now)), step.left(now), step.said())
        return f"{name}: " + ", ".join(word for word in said if word)
