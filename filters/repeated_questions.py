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

    Pictures are the same by their bytes; near ones are `near_duplicates`' and `held_out`'s matter. The least id stays, so
    the order of rows changes nothing. It sees the whole dataset: what follows it waits for all parts.
    """

    name: ClassVar = "repeated_questions"
    version: ClassVar = 1
    reads: ClassVar = columns("messages", "images")
    writes: ClassVar = (column("asked", pa.string()),)  # hash of pictures and questions
    reasons: ClassVar = ("repeated",)

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """What each row asks, as a hash."""
        return [{"asked": _asked(row)} for row in rows]

    def decides_on(self) -> tuple[str, ...]:
        """What is asked, and the ids."""
        return ("asked", "id")

    def decide_all(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Marks all but the row with the least id of each group."""
        order = np.lexsort((columns["id"].astype(str), columns["asked"].astype(str)))
        asked = columns["asked"].astype(str)[order]
        repeated = np.zeros(len(order), bool)
        repeated[order[1:]] = asked[1:] == asked[:-1]
        return {"repeated": repeated}


def _asked(row: Row) -> str:
    digest = blake2b(digest_size=16)
    for image in row["images"] or ():
        digest.update(blake2b(image, digest_size=16).digest())
    for message in row["messages"] or ():
        if message["role"] == "user":
            digest.update(re.sub(r"[^\w\s]", "", fold(text_of(message))).encode() + b"\x1f")
    return digest.hexdigest()
