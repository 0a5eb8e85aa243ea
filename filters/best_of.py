"""Keeps the best k of the rows that share a parent, such as the samples of one edit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, ClassVar

from annotated_types import Ge, MinLen

from limbeck.errors import SettingError
from limbeck.stage import Decision, Filter, Reasons, Row, settings


@settings
class BestOf(Filter):
    """Keeps the `keep` best of each group of siblings, by one score or by several together.

    With several scores each sibling gets its rank by each of them, and the weighted mean of its ranks counts: scores
    of different spread weigh alike. The best direction similarity alone favours pictures that changed too much;
    `rank = { clip_sim_dir = 1, clip_sim_image = 1 }` asks for the edit and for the rest to stay. A negative weight
    means that less is better. Equal rows are ordered by id, so the order of rows changes nothing.

    Source: Brooks et al. 2023, InstructPix2Pix: of those that pass the filter, the 4 of greatest direction similarity.
    """

    name: ClassVar = "best_of"
    version: ClassVar = 1
    reasons: ClassVar = ("sibling_better",)

    keep: Annotated[int, Decision(), Ge(1)] = 4
    """Rows to keep of each group, at most."""
    rank: Annotated[dict[str, float], Decision(), MinLen(1)] = field(default_factory=lambda: {"clip_sim_dir": 1.0})
    """Score columns and their weights."""
    group_by: Annotated[str, Decision()] = "parent_id"
    """Column that siblings share."""

    def __post_init__(self) -> None:
        bad = {name: weight for name, weight in self.rank.items() if not math.isfinite(weight) or weight == 0}
        if bad:
            raise SettingError(f"rank = {bad}", expected="weights other than 0")

    def decides_on(self) -> tuple[str, ...]:
        """The ranked scores."""
        return tuple(self.rank)

    def decide_group(self, siblings: list[Row]) -> list[Reasons]:
        """Drops all but the best; in the order of `siblings`."""
        if len(siblings) <= self.keep:
            return [()] * len(siblings)
        mean_rank = [0.0] * len(siblings)
        for name, weight in self.rank.items():
            values = [row[name] if weight > 0 or row[name] is None else -row[name] for row in siblings]
            for i, rank in enumerate(ranks(values)):
                mean_rank[i] += abs(weight) * rank
        order = sorted(range(len(siblings)), key=lambda i: (round(mean_rank[i], 9), siblings[i]["id"]))
        kept = set(order[: self.keep])
        return [() if i in kept else ("sibling_better",) for i in range(len(siblings))]


def ranks(values: Sequence[float | None]) -> list[float]:
    """Rank of each value, 0 for the greatest; equal values share the mean of their ranks; None and NaN come last.

    >>> ranks([0.3, None, 0.9, 0.3])
    [1.5, 3.0, 0.0, 1.5]
    """
    numbers = [-math.inf if v is None or math.isnan(v) else v for v in values]
    order = sorted(range(len(numbers)), key=lambda i: -numbers[i])
    out = [0.0] * len(numbers)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and numbers[order[end + 1]] == numbers[order[start]]:
            end += 1
        for i in order[start : end + 1]:
            out[i] = (start + end) / 2
        start = end + 1
    return out
