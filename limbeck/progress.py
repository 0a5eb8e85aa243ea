"""What a build tells while it runs; the command line turns it into progress bars, the core prints nothing."""

from __future__ import annotations

from collections.abc import Sequence


class Observer:
    """Told of everything, interested in nothing: override what you need. Calls come from the build's own thread."""

    def planned(self, stages: Sequence[str], parts: int, rows: int) -> None:
        """The build has so many parts of so many source rows; `stages` are their ids in order."""

    def part_started(self, stage: str, part: int, rows: int) -> None:
        """A stage begins with a part of so many incoming rows."""

    def rows_done(self, stage: str, part: int, rows: int) -> None:
        """So many more of the incoming rows have an outcome."""

    def part_done(
        self, stage: str, part: int, *, rows: int, kept: int, dropped: int, failed: int, reused: bool
    ) -> None:
        """A stage is done with a part.

        Args:
            stage: the stage's id.
            part: number of the part.
            rows: incoming rows.
            kept: rows that go on (of a generator, rows made).
            dropped: rows that ended with a reason.
            failed: rows that ended with an error.
            reused: it was done by an earlier run.
        """

    def model_loaded(self, name: str, seconds: float) -> None:
        """A model of the recipe has been loaded."""

    def note(self, text: str) -> None:
        """Something worth a line: waiting for another process, pictures rendered anew."""

    def finishing(self, rows: int) -> None:
        """All parts are done; files for so many kept rows are written."""
