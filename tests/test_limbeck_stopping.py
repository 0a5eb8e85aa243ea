"""When sampling stops.

Oracle: the Beta integral worked out by hand and by simulation.
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from limbeck.stopping import StopRule, chance_of_another


@pytest.mark.parametrize(("survivors", "failures", "left"), [(0, 10, 20), (2, 6, 5), (0, 0, 100), (1, 30, 3)])
def test_the_chance_of_another_survivor_is_the_posterior_s(survivors, failures, left):
    prior = (0.5, 2.0)
    rng = np.random.default_rng(0)
    rate = rng.beta(prior[0] + survivors, prior[1] + failures, 200_000)
    simulated = (1 - (1 - rate) ** left).mean()
    assert abs(chance_of_another(survivors, failures, left, prior) - simulated) < 0.005


def test_nothing_left_is_no_chance():
    assert chance_of_another(3, 5, 0, (1.0, 1.0)) == pytest.approx(0)


def test_verdicts():
    rule = StopRule(survivors=2, give_up_below=0.3, prior=(1.0, 1.0))
    # by hand: with no survivor of n the chance in m more is m / (n + m + 1)
    assert rule.verdict(survivors=2, tried=4, left=4) == "enough"
    assert rule.verdict(survivors=0, tried=10, left=5) is None  # 5/16 = 0.3125
    assert rule.verdict(survivors=0, tried=11, left=4) == "hopeless"  # 4/16 = 0.25
    assert rule.verdict(survivors=1, tried=11, left=4) is None


def test_a_laxer_filter_is_told_that_its_yield_is_censored():
    rule = StopRule()
    assert rule.censors(rule.bounds()) == ()
    assert rule.censors(StopRule(min_direction=0.1, min_image=0.8).bounds()) == ("clip_sim_dir",)
    assert rule.censors(StopRule(max_image=1.0).bounds()) == ("clip_sim_image",)
    assert rule.censors({}) == tuple(rule.bounds())


def test_a_survivor_is_within_every_bound_and_nan_never_is():
    scores = {name: 0.9 for name in StopRule().bounds()}
    assert StopRule().survives(scores)
    assert not StopRule().survives(scores | {"clip_sim_dir": float("nan")})
    assert not StopRule().survives(scores | {"clip_sim_image": 0.69})
    assert not StopRule().survives(scores | {"clip_sim_image": 0.995}), "a copy is no edit"


@pytest.mark.parametrize("wrong", [{"survivors": 0}, {"min_image": 1.5}, {"prior": (0.0, 1.0)}, {"give_up": 0.1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        StopRule(**wrong)
