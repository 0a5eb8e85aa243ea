"""How good a filter is at finding errors, measured on rows that were spoilt on purpose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """What a filter did to good rows and to the same rows spoilt.

    Attributes:
        spoilt, found: rows with an error put in, and those of them that it drops.
        good, lost: rows without one, and those of them that it drops.
    """

    spoilt: int
    found: int
    good: int
    lost: int

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
        )


def calibrate(dropped_spoilt: Sequence[bool], dropped_good: Sequence[bool]) -> Calibration:
    """From what a filter dropped.

    >>> str(calibrate([True] * 96 + [False] * 4, [True] + [False] * 99))
    'finds 96.0% of 100 errors (90.2% to 98.4%), drops 1.0% of 100 good rows (at most 5.4%)'
    """
    return Calibration(len(dropped_spoilt), sum(dropped_spoilt), len(dropped_good), sum(dropped_good))


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
