"""Conversations that begin with the same picture, so that it is read once for all of them.

    one by one     system picture question answer, system picture question answer, ...
    shared         system picture, and behind its keys and values: question answer, question answer, ...

Tower, projector and language model see a beginning once. What follows it sees the beginning and itself, at the places
that it would have alone, so every logit is the same to rounding; a picture of the miniature is as long as two
questions with their answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

LONG = 2
"""Conversations this many times as long as the median, behind their beginning, stay whole: others would be padded to them."""


@dataclass(frozen=True)
class Shared:
    """What is shared in a batch.

    Attributes:
        length: tokens of the beginning, which ends with its last picture; 0 where nothing is shared.
        of: conversation to its beginning, counted from 0; the others stay whole.
        firsts: for each beginning, a conversation that has it.
    """

    length: int
    of: dict[int, int]
    firsts: list[int]


NOTHING = Shared(0, {}, [])


def of_one_length(found: Shared, lengths: Sequence[int], groups: int = 3) -> list[list[int]]:
    """Conversations that share, in groups of about one length, so that little is padded.

    >>> of_one_length(Shared(2, dict.fromkeys(range(5), 0), [0]), [9, 5, 7, 6, 8])
    [[1], [3, 2], [4, 0]]
    """
    order = sorted(found.of, key=lambda n: lengths[n])
    cuts = [len(order) * i // groups for i in range(groups + 1)]
    return [order[a:b] for a, b in pairwise(cuts) if a < b]


def shared(ids: Sequence[Sequence[int]], images: Sequence[Sequence[bytes]], image_id: int) -> Shared:
    """Which conversations go behind which beginning; all beginnings of a batch have the same tokens.

    Args:
        ids: of each conversation.
        images: its pictures.
        image_id: token of a picture.

    >>> shared([[7, 0, 0, 5], [7, 0, 0, 6, 6], [0, 0, 5], [7, 0, 0, 4]], [[b"a"], [b"a"], [b"a"], [b"b"]], 0)
    Shared(length=3, of={0: 0, 1: 0, 3: 1}, firsts=[0, 3])
    """
    beginnings = [tuple(own[: max((i + 1 for i, t in enumerate(own) if t == image_id), default=0)]) for own in ids]
    if not any(beginnings):
        return NOTHING
    commonest = Counter(begin for begin in beginnings if begin).most_common(1)[0][0]
    fitting = [n for n, begin in enumerate(beginnings) if begin == commonest]
    usual = median(len(ids[n]) - len(commonest) for n in fitting)
    families: dict[Hashable, list[int]] = {}
    for n in fitting:
        if len(ids[n]) - len(commonest) <= LONG * usual:
            families.setdefault(tuple(images[n]), []).append(n)
    if all(len(members) == 1 for members in families.values()):
        return NOTHING
    of = {n: family for family, members in enumerate(families.values()) for n in members}
    return Shared(len(commonest), dict(sorted(of.items())), [members[0] for members in families.values()])
