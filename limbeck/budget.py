"""How many rows may fail before a build stops."""

from __future__ import annotations

from limbeck.errors import TooManyErrors


class ErrorBudget:
    """Counts failed rows by stage, and stops the build before a part is written that breaks the bounds.

    While parts are under way, the rows of a whole stage are projected from those seen; a dead endpoint so ends a
    build early, and the rows it failed are asked again by the next run.
    """

    def __init__(self, rate: float, parts: int, source_rows: int) -> None:
        """`rate` of a stage's rows may fail."""
        self._rate, self._parts, self._source_rows = rate, parts, source_rows
        self._seen: dict[int, dict[int, tuple[int, int]]] = {}

    def add(self, stage: int, stage_id: str, part: int, counts: dict[str, int], error: str = "") -> None:
        """Counts a part's rows, once; `error` is one of its errors in words.

        Raises:
            TooManyErrors: with these the stage has more failed rows than it may have.
        """
        seen = {**self._seen.get(stage, {}), part: (counts["in"], counts["failed"])}
        rows, failed = (sum(n) for n in zip(*seen.values(), strict=True))
        projected = max(rows, rows * self._parts / len(seen))
        if failed > self._rate * projected:
            raise TooManyErrors(
                f"{failed} of {rows} rows failed, which is more than {self._rate:.1%} of about {projected:.0f} "
                "(run.max_error_rate)" + (f". One of them: {error}" if error else ""),
                where=f"stage {stage_id}",
                remedy="when the cause is gone, run the same command again: it resumes",
            )
        self._seen[stage] = seen
