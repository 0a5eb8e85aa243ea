"""Keeps one of rows that ask the same of the same picture, over the whole dataset."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import ClassVar

import numpy as np
import pyarrow as pa

from limbeck.answers import fold
from limbeck.records import column, columns
from limbeck.stage import Filter, Row, Run, settings
from limbeck.turns import text_of


@settings
class RepeatedQuestions(Filter):
    """Drops all but one of rows with the same pictures and the same questions, whatever their case and punctuation.

    Pictures are the same by their bytes, and where none are stored by their scenes; near ones are `near_duplicates`' and
    `held_out`'s matter. A row with neither is never one too many. The least id stays, so the order of rows changes
    nothing. It sees the whole dataset: what follows it waits for all parts.
    """

    name: ClassVar = "repeated_questions"
    version: ClassVar = 2
    reads: ClassVar = columns("messages", "images")
    reads_if_there: ClassVar = columns("scenes")
    writes: ClassVar = (column("asked", pa.string()),)  # hash of pictures and questions; null where no picture is known
    reasons: ClassVar = ("repeated",)

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """What each row asks, as a hash."""
        return [{"asked": _asked(row)} for row in rows]

    def decides_on(self) -> tuple[str, ...]:
        """What is asked, and the ids."""
        return ("asked", "id")

    def decide_all(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Marks all but the row with the least id of each group."""
        known = np.flatnonzero([asked is not None for asked in columns["asked"]])
        asked, ids = (columns[name][known].astype(str) for name in ("asked", "id"))
        order = np.lexsort((ids, asked))
        repeated = np.zeros(len(columns["id"]), bool)
        repeated[known[order[1:]]] = asked[order[1:]] == asked[order[:-1]]
        return {"repeated": repeated}


def _asked(row: Row) -> str | None:
    shown = row["images"] or [scene.encode() for scene in row.get("scenes") or ()]
    if not shown:
        return None
    digest = blake2b(digest_size=16)
    for each in shown:
        digest.update(blake2b(each, digest_size=16).digest())
    for message in row["messages"] or ():
        if message["role"] == "user":
            digest.update(re.sub(r"[^\w\s]", "", fold(text_of(message))).encode() + b"\x1f")
    return digest.hexdigest()
