"""When a prompt has been sampled enough: it has its survivors, or it most likely never will.

Rendering a fixed number of samples spends most of its time on prompts that are done early or hopeless.
"""

from __future__ import annotations

from math import exp, lgamma
from typing import Annotated

from annotated_types import Ge, Gt, Le

from limbeck.errors import SettingError
from limbeck.stage import settings


def chance_of_another(survivors: int, failures: int, left: int, prior: tuple[float, float]) -> float:
    """The probability that at least one of the samples left survives.

    The survival rate of a prompt has a Beta prior; after s survivors and f failures it is Beta(a + s, b + f), and
    all m samples left fail with probability B(a + s, b + f + m) / B(a + s, b + f).

    >>> chance_of_another(0, 0, 1, prior=(1.0, 1.0))
    0.5
    >>> round(chance_of_another(0, 8, 8, prior=(1.0, 1.0)), 3)  # 1 - 9/17
    0.471
    """
    a, b = prior[0] + survivors, prior[1] + failures
    return 1 - exp(lgamma(b + left) - lgamma(b) + lgamma(a + b) - lgamma(a + b + left))


@settings
class StopRule:
    """Stops sampling a prompt at enough survivors, or when another one has become unlikely.

    A survivor passes all four minimums. The samples that were never rendered are not missing at random: a filter
    laxer than these minimums sees a censored yield (`censors`).
    """

    survivors: Annotated[int, Ge(1)] = 4
    """Enough: InstructPix2Pix keeps up to 4 of a prompt."""
    look_every: Annotated[int, Ge(1)] = 4
    """Samples of a prompt between two looks; larger batches better, smaller spends fewer renders."""
    give_up_below: Annotated[float, Ge(0), Le(1)] = 0.25
    """Gives a prompt up when the chance of another survivor among the samples left falls below this."""
    prior: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (0.3, 1.0)
    """Beta prior of a prompt's survival rate: many prompts have almost none, some have a lot."""
    min_source: float = 0.2
    min_target: float = 0.2
    min_direction: float = 0.2
    min_image: float = 0.7

    def __post_init__(self) -> None:
        """Refuses minimums that are no cosines."""
        for name, value in self.minimums().items():
            if not -1 <= value <= 1:
                raise SettingError(f"minimum of {name} = {value}", expected="a cosine in [-1, 1]")

    def minimums(self) -> dict[str, float]:
        """Score column to its minimum."""
        return {
            "clip_sim_source": self.min_source,
            "clip_sim_target": self.min_target,
            "clip_sim_dir": self.min_direction,
            "clip_sim_image": self.min_image,
        }

    def survives(self, scores: dict[str, float]) -> bool:
        """Whether a sample passes every minimum; NaN doesn't.

        >>> StopRule().survives({name: 0.75 for name in StopRule().minimums()})
        True
        """
        return all(scores[name] >= least for name, least in self.minimums().items())

    def censors(self, minimums: dict[str, float]) -> tuple[str, ...]:
        """Columns in which a filter's minimums are laxer than those that stopped the sampling.

        >>> StopRule(min_image=0.7).censors({"clip_sim_image": 0.6, "clip_sim_dir": 0.25})
        ('clip_sim_source', 'clip_sim_target', 'clip_sim_image')
        """
        return tuple(name for name, least in self.minimums().items() if minimums.get(name, -1.0) < least)

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
