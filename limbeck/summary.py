"""What a build amounts to, in plain values: the numbers that the card, the report and the terminal all show.

Nothing here reads a file: `limbeck.report.collect` fills these from a build, tests fill them by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

NOT_STATED = "not stated"
"""What stands for a licence where there is none."""


@dataclass(frozen=True)
class StageCount:
    """One step of the funnel.

    Attributes:
        id: the stage's id, `source` for the rows that came in.
        use: what the recipe's `use` said.
        kind: whether it brought rows in, made rows, or judged them.
        rows_in: rows it was given.
        rows_out: rows it passed on; of a generator, the rows it made.
        dropped: rows turned away by its own rule.
        failed: rows on which a model failed.
        reasons: dropped rows by reason; a row with two reasons counts under both.
        about: what it does, one sentence.
        counters: what the stage counted, such as pictures rendered.
        seconds: time spent in it, or None where nobody took it.
    """

    id: str
    use: str
    kind: Literal["source", "generator", "filter"]
    rows_in: int
    rows_out: int
    dropped: int = 0
    failed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    about: str = ""
    counters: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True)
class GroupYield:
    """What became of the rows of one kind of edit: rows judged, kept and failed; the others by reason."""

    name: str
    rows: int
    kept: int
    failed: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Kept rows of those judged, in [0, 1]."""
        return self.kept / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class ModelUse:
    """A model of the recipe and what used it; `license` is empty where nobody stated it."""

    name: str
    id: str
    roles: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    revision: str = ""
    fingerprint: str = ""
    license: str = ""


@dataclass(frozen=True)
class Threshold:
    """A setting that decides, with the values that differ by a column, as (column, value, setting's value)."""

    stage: str
    setting: str
    value: Any
    overrides: tuple[tuple[str, str, Any], ...] = ()
    about: str = ""


@dataclass(frozen=True)
class Cost:
    """What the models' answers cost. `amount` is None where the recipe gives no price: it is never guessed."""

    amount: float | None = None
    currency: str = "USD"
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def words(self) -> str:
        """As a person reads it.

        >>> Cost(1.5, "EUR", 10, 1000, 500).words, Cost().words, Cost(None, "USD", 3, 20, 10).words
        ('1.50 EUR', 'nothing', 'no price given')
        """
        if self.amount is not None and (self.amount or self.requests):
            return (
                f"{self.amount:,.2f} {self.currency}"
                if self.amount >= 0.01 or not self.amount
                else f"under 0.01 {self.currency}"
            )
        return "no price given" if self.requests else "nothing"


@dataclass(frozen=True)
class Summary:
    """A build in numbers.

    Attributes:
        rows_in: source rows, those that couldn't be used included.
        judged: rows of the last generator; every one is kept, dropped or failed.
        by_type: what became of each kind of edit, or of question.
        by_language: the same by the language of conversations.
        splits: kept rows by split.
        columns: name and type of the published columns.
        licenses: of the source rows, where they state one: licence to rows.
        sources: where the source rows came from: name to rows.
        versions: package to version.
        devices: where it was made.
        partial: whether parts are still to do.
    """

    name: str
    title: str
    record: str
    license: str
    seed: int
    digest: str
    stages: tuple[StageCount, ...]
    rows_in: int
    judged: int
    kept: int
    dropped: int
    failed: int
    by_type: tuple[GroupYield, ...] = ()
    by_language: tuple[GroupYield, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[tuple[str, str], ...] = ()
    models: tuple[ModelUse, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    cost: Cost = field(default_factory=Cost)
    description: str = ""
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()
    licenses: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    recipe: str = ""
    bytes: int = 0
    partial: bool = False
    license_name: str = ""
    license_link: str = ""

    @property
    def reasons(self) -> dict[str, int]:
        """Dropped rows by `stage: reason`, most frequent first."""
        found = {f"{s.id}: {reason}": n for s in self.stages for reason, n in s.reasons.items() if n}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def generators(self) -> tuple[StageCount, ...]:
        """Steps that made rows."""
        return tuple(s for s in self.stages if s.kind == "generator")


def yields(
    names: Sequence[str], codes: np.ndarray, kept: np.ndarray, failed: np.ndarray, reasons: Mapping[str, np.ndarray]
) -> tuple[GroupYield, ...]:
    """What became of the rows of each kind, the most frequent kind first.

    Args:
        names: of the kinds.
        codes: (N,) kind of each row, as an index of `names`.
        kept: (N,) bool.
        failed: (N,) bool.
        reasons: reason to (N,) bool, the rows that were dropped for it.

    >>> [(y.name, y.rows, y.kept, y.failed, dict(y.reasons)) for y in yields(
    ...     ["move", "add"], np.array([1, 1, 0]), np.array([True, False, False]), np.array([False, False, True]),
    ...     {"copy": np.array([False, True, False])})]
    [('add', 2, 1, 0, {'copy': 1}), ('move', 1, 0, 1, {})]
    """

    def count(mask: np.ndarray) -> list[int]:
        return np.bincount(codes[mask], minlength=len(names)).tolist()

    rows, good, bad = count(np.ones(len(codes), bool)), count(kept), count(failed)
    why = {reason: count(mask) for reason, mask in reasons.items()}
    found = []
    for i in sorted(range(len(names)), key=lambda i: (-rows[i], names[i])):
        own = sorted(((r, n[i]) for r, n in why.items() if n[i]), key=lambda item: (-item[1], item[0]))
        found.append(GroupYield(names[i], rows[i], good[i], bad[i], dict(own)))
    return tuple(found)


def size_category(rows: int) -> str:
    """The Hub's word for a dataset's size.

    >>> size_category(0), size_category(1000), size_category(250_000), size_category(3_000_000)
    ('n<1K', '1K<n<10K', '100K<n<1M', '1M<n<10M')
    """
    if rows < 1000:
        return "n<1K"
    names = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    power = min(len(str(rows)) - 4, len(names) - 2)
    return f"{names[power]}<n<{names[power + 1]}" if rows < 10**12 else "n>1T"


def share(part: int, whole: int) -> str:
    """A share in percent.

    >>> share(1, 3), share(1, 400), share(0, 0)
    ('33%', '0.2%', '–')
    """
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.0f}%" if percent >= 10 or percent == 0 else f"{percent:.1f}%"
