"""How good a filter is at finding errors, measured on rows that were spoilt on purpose.

limbeck calibrate RECIPE judge -n 100
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.errors import ModelError, RequestError
from limbeck.stage import Drop, Failed, Filter, Row, decision_form, scores, waits

if TYPE_CHECKING:
    from limbeck.recipe import Recipe


@dataclass(frozen=True)
class Calibration:
    """What a filter did to good rows and to the same rows spoilt.

    Attributes:
        spoilt, found: rows with an error put in, and those of them that it drops.
        good, lost: rows without one, and those of them that it drops.
        failed: rows on which its model failed; they count as neither found nor lost.
    """

    spoilt: int
    found: int
    good: int
    lost: int
    failed: int = 0

    @property
    def recall(self) -> float:
        """Share of the errors that it finds."""
        return self.found / self.spoilt if self.spoilt else math.nan

    @property
    def false_alarms(self) -> float:
        """Share of the good rows that it drops."""
        return self.lost / self.good if self.good else math.nan

    @property
    def precision(self) -> float:
        """Of what it drops where half of the rows are spoilt, the share that is."""
        both = self.recall + self.false_alarms
        return self.recall / both if both else math.nan

    def __str__(self) -> str:
        low, high = interval(self.found, self.spoilt)
        worst = interval(self.lost, self.good)[1]
        return (
            f"finds {self.recall:.1%} of {self.spoilt} errors ({low:.1%} to {high:.1%}), "
            f"drops {self.false_alarms:.1%} of {self.good} good rows (at most {worst:.1%})"
            + (f"; failed on {self.failed}" if self.failed else "")
        )


def calibrate(dropped_spoilt: Sequence[bool], dropped_good: Sequence[bool]) -> Calibration:
    """From what a filter dropped.

    >>> str(calibrate([True] * 96 + [False] * 4, [True] + [False] * 99))
    'finds 96.0% of 100 errors (90.2% to 98.4%), drops 1.0% of 100 good rows (at most 5.4%)'
    """
    return Calibration(len(dropped_spoilt), sum(dropped_spoilt), len(dropped_good), sum(dropped_good))


def measured(recipe: Recipe, stage_id: str, good: Sequence[Row], spoilt: Sequence[Row]) -> Calibration:
    """Puts rows through a filter of a recipe, with its models and thresholds.

    Args:
        recipe: with the filter.
        stage_id: its id.
        good: rows without an error.
        spoilt: rows with one.

    Raises:
        RequestError: no such stage, or none that decides row by row.
    """
    from limbeck.handle import Handle, ModelPool
    from limbeck.progress import Observer

    table = next((table for table in recipe.stages if table.id == stage_id), None)
    if table is None or not isinstance(table.stage, Filter) or decision_form(table.stage) != "row":
        filters = [t.id for t in recipe.stages if isinstance(t.stage, Filter) and decision_form(t.stage) == "row"]
        raise RequestError(
            f"{stage_id!r} is no filter of single rows", expected=", ".join(filters) or "a recipe with one"
        )
    rows = [
        {**row, "id": f"{kind}{i}"} for kind, rows in (("good", good), ("spoilt", spoilt)) for i, row in enumerate(rows)
    ]
    handle = Handle(table, seed=recipe.dataset.seed, pool=ModelPool(dict(recipe.models), recipe.folder, Observer()))
    results = _scored(table.stage, rows, handle)
    dropped: dict[str, list[bool]] = {"good": [], "spoilt": []}
    for row, result in zip(rows, results, strict=True):
        if isinstance(result, Failed):
            continue
        gone = isinstance(result, Drop) or bool(table.stage.decide({**row, **result}))  # type: ignore[attr-defined]
        dropped["good" if row["id"].startswith("good") else "spoilt"].append(gone)
    failed = len(rows) - sum(map(len, dropped.values()))
    return Calibration(
        len(dropped["spoilt"]), sum(dropped["spoilt"]), len(dropped["good"]), sum(dropped["good"]), failed
    )


def _scored(stage: Any, rows: list[Row], handle: Any) -> list[Any]:
    if not scores(stage):
        return [{} for _ in rows]
    if not waits(stage):
        return list(stage.score(rows, handle))

    async def one(row: Row) -> Any:
        try:
            return await stage.score_one(row, handle)
        except ModelError as error:
            return Failed(row["id"], error)

    async def everything() -> list[Any]:
        return await asyncio.gather(*(one(row) for row in rows))

    return asyncio.run(everything())


def interval(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share; (0, 1) of none.

    >>> [round(v, 3) for v in interval(0, 50)]
    [0.0, 0.071]

    Source: Wilson 1927; 95% with the default z.
    """
    if not n:
        return 0.0, 1.0
    p, share = hits / n, z * z / n
    middle, half = p + share / 2, z * math.sqrt(p * (1 - p) / n + share / (4 * n))
    return max(0.0, (middle - half) / (1 + share)), min(1.0, (middle + half) / (1 + share))
