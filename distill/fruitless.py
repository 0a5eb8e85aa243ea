"""Why a training gave up: a loss that is no number, or nothing to learn from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from limbeck.errors import RequestError, WorkError


class LossNotFinite(WorkError):
    """The loss or a gradient isn't a number; the last good checkpoint stays.

    Attributes:
        step: at which.
        ids: of the batch's rows.
    """

    def __init__(self, step: int, ids: list[str], what: str, checkpoint: Path) -> None:
        self.step, self.ids = step, ids
        good = f"the last good checkpoint is {checkpoint}" if checkpoint.is_file() else "there is no checkpoint before"
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        super().__init__(
            f"{what} at step {step}, rows {', '.join(ids[:8])}{more}",
            where=str(checkpoint.parent),
            remedy=f"{good}; look at these rows, or lower train.lr",
        )


class NothingLearnt(RequestError):
    """No row counted for any term of the loss in many steps: the model stays as it is.

    Attributes:
        steps: how many, one after the other.
        terms: of the loss.
    """

    def __init__(self, steps: int, terms: Iterable[str]) -> None:
        self.steps, self.terms = steps, tuple(terms)
        super().__init__(
            f"in {steps} steps no row counted for any term of the loss ({', '.join(self.terms) or 'there is none'})",
            expected="rows with a label or a teacher's answer",
            where="train",
            remedy="look at [budget], at what the student leaves out (rows that are too long, say), at its `counts`",
        )
