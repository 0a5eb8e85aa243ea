"""Whether a dataset's rows can teach and judge a VLM, told by their pictures before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from distill.vlm.asking import is_closed
from limbeck.errors import did_you_mean

if TYPE_CHECKING:
    from distill.batches import Positions
    from distill.dataset import Dataset


def unfit(dataset: Dataset, judged: str, asked: Mapping[str, Positions]) -> list[str]:
    """What is wrong, each as one sentence; the pictures of all rows are read once.

    Args:
        dataset: its splits must be apart in pictures as in rows.
        judged: the split of the rows to be judged by.
        asked: rows that have to hold closed questions, by what they are for.
    """
    found: list[str] = []
    pictures = [
        frozenset(hashlib.blake2b(i, digest_size=8).digest() for i in images or ())
        for images in dataset.values("images")
    ]
    seen = {split: set().union(*(pictures[p] for p in positions)) for split, positions in dataset.splits.items()}
    for split, positions in dataset.splits.items():
        if len(positions) and not seen[split]:
            found.append(
                f"none of the {len(positions):,} rows of the split {split!r} has a picture"
                " (was the dataset built with pictures = false?)"
            )
    test = seen.pop(judged, set())
    if leaked := len(test & set().union(*seen.values())) if seen else 0:
        found.append(
            f"{leaked:,} pictures of the split {judged!r} are in others too, so that it measures memory; split by"
            " what rows were made from"
        )
    for use, positions in asked.items():
        if not any(is_closed(dataset.row(p)) for p in positions):
            found.append(f"none of the {len(positions):,} {use} asks a closed question; set student.judged_by = 'nll'")
    return found


def unknown(dataset: Dataset, column: str, **settings: Mapping[str, int] | None) -> list[str]:
    """Names in settings that no row has in a column, each as one sentence."""
    have = {*dataset.values(column)} - {None} if column in dataset.columns else set()
    return [
        f"student.{setting} names the {column} {name!r}, which no row has; {did_you_mean(name, have)}"
        for setting, table in settings.items()
        for name in sorted((table or {}).keys() - have)
    ]
