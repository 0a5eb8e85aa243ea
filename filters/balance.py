"""Brings yes and no to halves: drops from whichever answer a template gives too often, over the whole dataset."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Row, Run, settings


@settings
class Balance(Filter):
    """Drops yes-or-no rows until each template's yes share is a half, in each language, within `tolerance`.

    Which rows go is a matter of their id's hash, so the order of rows and what else is in the dataset change nothing.
    Rows of a minimal pair have one yes and one no, and are never parted: they are neither counted nor dropped. It
    sees the whole dataset: what follows it waits for all parts.
    """

    name: ClassVar = "balance"
    version: ClassVar = 1
    reads: ClassVar = columns("answer_value", "template", "language", "pair_id")
    writes: ClassVar = (
        column("balance_group", pa.string()),  # template and language; null where the answer is neither yes nor no
        column("balance_yes", pa.bool_()),
    )
    reasons: ClassVar = ("too_many_alike",)

    tolerance: Annotated[float, Decision(), Ge(0), Le(0.5)] = 0.005
    """Greatest distance of a group's yes share from a half."""

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Each row's group and answer."""
        return [
            {"balance_group": f"{row['template']}/{row['language']}", "balance_yes": row["answer_value"] == "true"}
            if row["answer_value"] in ("true", "false") and row["pair_id"] is None
            else {"balance_group": None, "balance_yes": None}
            for row in rows
        ]

    def decides_on(self) -> tuple[str, ...]:
        """Groups, answers, and the ids that order them."""
        return ("balance_group", "balance_yes", "id")

    def decide_all(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Marks what is too much."""
        dropped = np.zeros(len(columns["id"]), bool)
        groups = columns["balance_group"].astype(object)
        asked = np.flatnonzero([group is not None for group in groups])
        names, which = np.unique(groups[asked].astype(str), return_inverse=True)
        yes = columns["balance_yes"][asked].astype(bool)
        for group in range(len(names)):
            mine = asked[which == group]
            says_yes = yes[which == group]
            more = mine[says_yes] if 2 * says_yes.sum() > len(mine) else mine[~says_yes]
            least = min(says_yes.sum(), len(mine) - says_yes.sum())
            most = int(least * (0.5 + self.tolerance) / (0.5 - self.tolerance)) if self.tolerance < 0.5 else len(more)
            if len(more) > most:
                order = sorted(more, key=lambda i: blake2b(str(columns["id"][i]).encode(), digest_size=8).digest())
                dropped[order[most:]] = True
        return {"too_many_alike": dropped}
