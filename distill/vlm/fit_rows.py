"""Whether a dataset's rows can teach and judge a VLM, told by their pictures before anything is computed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from distill.vlm.asking import is_closed

if TYPE_CHECKING:
    from distill.dataset import Dataset


def unfit(dataset: Dataset, judged: str, *, closed: bool) -> list[str]:
    """What is wrong, each as one sentence; the pictures of all rows are read once.

    Args:
        dataset: its splits must be apart in pictures as in rows.
        judged: the split of the rows to be judged by.
        closed: whether exact answers judge.
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
    if closed and not any(is_closed(dataset.row(p)) for p in dataset.splits[judged]):
        found.append(f"no row of the split {judged!r} asks a closed question; set student.judged_by = 'nll'")
    return found
