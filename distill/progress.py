"""What a distillation tells while it runs; the command line turns it into bars, the core prints nothing."""

from __future__ import annotations

from collections.abc import Mapping


class Watcher:
    """Told of everything, interested in nothing: override what you need."""

    def started(self, step: str, total: int | None, unit: str = "") -> None:
        """A step of the line begins: `rows`, `teacher`, `both 0`, ...; `total` is None where nobody knows."""

    def advanced(self, step: str, done: int, figures: Mapping[str, float] | None = None) -> None:
        """So much of it is done, in all; with the newest figures of a training."""

    def finished(self, step: str, reused: bool = False) -> None:
        """It is through; `reused` where an earlier run had done it."""

    def note(self, text: str) -> None:
        """Something worth a line."""
