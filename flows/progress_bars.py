"""What a person sees while a build runs: a bar for each stage in a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flows.progress_tally import Clock, Tally, count, remaining, speed, went_on


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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
                Text(went_on(progress), style="dim"),
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
        said = (count(progress), went_on(progress), speed(progress.rate(now)), remaining(progress, now))
        return f"{stage}: " + ", ".join(word for word in said if word)
