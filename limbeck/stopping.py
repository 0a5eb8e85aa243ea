"""When a prompt has been sampled enough: it has its survivors, or it most likely never will.

Rendering a fixed number of samples spends most of its time on prompts that are done early or hopeless.
"""

from __future__ import annotations

from math import exp, lgamma
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from limbeck.stage import settings

_Cosine = Annotated[float, Ge(-1), Le(1)]


def chance_of_another(survivors: int, failures: int, left: int, prior: tuple[float, float]) -> float:
    """The probability that at least one of the samples left survives.

    The survival rate of a prompt has a Beta prior; after s survivors and f failures it is Beta(a + s, b + f), and
    all m samples left fail with probability B(a + s, b + f + m) / B(a + s, b + f).

    >>> round(chance_of_another(0, 0, 1, prior=(1.0, 1.0)), 3)
    0.5
    >>> round(chance_of_another(0, 8, 8, prior=(1.0, 1.0)), 3)  # 1 - 9/17
    0.471
    """
    a, b = prior[0] + survivors, prior[1] + failures
    return 1 - exp(lgamma(b + left) - lgamma(b) + lgamma(a + b) - lgamma(a + b + left))


@settings
class StopRule:
    """Stops sampling a prompt at enough survivors, or when another one has become unlikely.

    A survivor is within all bounds. The samples that were never rendered are not missing at random: a filter laxer
    than these bounds sees a censored yield (`censors`).
    """

    survivors: Annotated[int, Ge(1)] = 4
    """Enough: InstructPix2Pix keeps up to 4 of a prompt."""
    look_every: Annotated[int, Ge(1)] = 4
    """Samples of a prompt between two looks; larger batches better, smaller spends fewer renders."""
    give_up_below: Annotated[float, Ge(0), Le(1)] = 0.25
    """Gives a prompt up when the chance of another survivor among the samples left falls below this."""
    prior: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (0.3, 1.0)
    """Beta prior of a prompt's survival rate: many prompts have almost none, some have a lot."""
    min_source: _Cosine = 0.2
    min_target: _Cosine = 0.2
    min_direction: _Cosine = 0.2
    min_image: _Cosine = 0.7
    max_image: _Cosine = 0.99

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Least and greatest value of each score, as of `clip_pair`."""
        return {
            "clip_sim_source": (self.min_source, 1.0),
            "clip_sim_target": (self.min_target, 1.0),
            "clip_sim_dir": (self.min_direction, 1.0),
            "clip_sim_image": (self.min_image, self.max_image),
        }

    def survives(self, scores: dict[str, float]) -> bool:
        """Whether a sample is within every bound, compared in float32 as `clip_pair` does; NaN isn't.

        >>> StopRule().survives({name: 0.75 for name in StopRule().bounds()})
        True
        """
        limit = np.float32
        return all(limit(low) <= limit(scores[name]) <= limit(high) for name, (low, high) in self.bounds().items())

    def censors(self, bounds: dict[str, tuple[float, float]]) -> tuple[str, ...]:
        """Columns in which a filter's bounds are laxer than those that stopped the sampling.

        >>> StopRule().censors(StopRule(min_image=0.6, min_direction=0.3).bounds())
        ('clip_sim_image',)
        """
        given = {name: bounds.get(name, (-1.0, 1.0)) for name in self.bounds()}
        return tuple(
            name for name, (low, high) in self.bounds().items() if given[name][0] < low or given[name][1] > high
        )

    def verdict(self, survivors: int, tried: int, left: int) -> str | None:
        """`enough`, `hopeless`, or None: go on.

        >>> StopRule().verdict(survivors=4, tried=8, left=92), StopRule().verdict(0, 4, 96)
        ('enough', None)
        """
        if survivors >= self.survivors:
            return "enough"
        if chance_of_another(survivors, tried - survivors, left, self.prior) < self.give_up_below:
            return "hopeless"
        return None
