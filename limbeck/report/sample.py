"""Which rows of a build are shown: the same ones every time, and every kind of row among them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Hashable, Iterable, Sequence

import numpy as np


def shuffled(ids: Sequence[str]) -> list[int]:
    """Positions in an order that looks random and depends on the ids alone.

    >>> shuffled(["a", "b", "c"]) == shuffled(["a", "b", "c"])
    True
    """
    return sorted(range(len(ids)), key=lambda i: hashlib.blake2b(ids[i].encode(), digest_size=8).digest())


def evenly(candidates: Iterable[tuple[int, Hashable, Hashable]], most: int) -> list[int]:
    """Takes turns among kinds, and within a kind one of each family before a second of any.

    Args:
        candidates: (position, kind, family) in the order of preference.
        most: how many to take.

    >>> evenly([(0, "add", "p"), (1, "add", "p"), (2, "add", "q"), (3, "move", "r")], 3)
    [0, 3, 2]
    """
    queues: dict[Hashable, deque[int]] = {}
    again: dict[Hashable, list[int]] = {}
    seen: set[tuple[Hashable, Hashable]] = set()
    for position, kind, family in candidates:
        queue = queues.setdefault(kind, deque())
        if (kind, family) in seen:
            again.setdefault(kind, []).append(position)
        else:
            seen.add((kind, family))
            queue.append(position)
    for kind, rest in again.items():
        queues[kind].extend(rest)
    found: list[int] = []
    while len(found) < most and any(queues.values()):
        found += [queue.popleft() for queue in queues.values() if queue]
    return found[:most]


def nearest(
    values: np.ndarray, threshold: float, side: str, where: np.ndarray, most: int
) -> tuple[list[int], list[int]]:
    """Rows just below and just above a threshold, nearest first.

    Args:
        values: (N,) scores; NaN is neither.
        threshold: compared in float32, as scores are stored.
        side: `min` or `max`: a row exactly at it counts to the side that passes.
        where: positions that count.
        most: how many on either side.

    >>> nearest(np.array([0.1, 0.2, 0.3, 0.19]), 0.2, "min", np.arange(4), 1)
    ([3], [1])
    """
    limit = np.float32(threshold)
    scores = values[where].astype(np.float32)
    low = scores < limit if side == "min" else scores <= limit
    found = []
    for mask in (low, ~low & np.isfinite(scores)):
        positions = where[mask]
        distance = np.abs(values[positions] - threshold)
        if len(distance) > most:  # a million rows needn't be sorted for three
            close = np.flatnonzero(distance <= np.partition(distance, most)[most])
            positions, distance = positions[close], distance[close]
        found.append(positions[np.argsort(distance, kind="stable")[:most]].tolist())
    return found[0], found[1]


def distinct(positions: Sequence[int], families: Sequence[Hashable], most: int) -> list[int]:
    """The first of each family.

    >>> distinct([4, 9, 2], ["p", "p", "q"], 2)
    [4, 2]
    """
    first: dict[Hashable, int] = {}
    for position, family in zip(positions, families, strict=True):
        first.setdefault(family, position)
    return list(first.values())[:most]
