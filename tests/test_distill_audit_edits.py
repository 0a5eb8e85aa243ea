"""The audit's arithmetic. Oracle: shares counted by hand, and clusters that must widen an interval."""

from __future__ import annotations

import numpy as np
import pytest

from distill.audit_edits import Audit, figures
from limbeck.storybook.truth import Verdicts


def _audit(right, kept, cluster, score):
    right = np.array(right, bool)
    verdicts = Verdicts(np.ones_like(right), right, np.ones_like(right))
    scores = {"clip_sim_dir": np.array(score, np.float32)}
    return Audit(verdicts, np.array(kept, bool), np.array(cluster), scores, ["recolour"] * len(right))


def test_shares_by_hand():
    """Oracle: 3 of 6 right, 2 of 3 kept right, gain 4/3, recall 2/3."""
    found = figures(_audit([1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 2, 2], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1]))
    assert (found["before"]["n"], found["before"]["right"]) == (6, 3)
    assert (found["after"]["n"], found["after"]["right"]) == (3, 2)
    assert found["after"]["recall"] == pytest.approx(2 / 3)
    assert found["curve"][0]["precision"] == pytest.approx(0.5)
    assert found["curve"][0]["recall"] == 1.0


def test_alike_pairs_of_a_prompt_are_not_independent():
    """Oracle: ten copies of each prompt's verdict give no narrower interval than one."""
    verdicts = [i % 2 for i in range(40)]
    one = figures(_audit(verdicts, verdicts, range(40), verdicts))["before"]
    ten = figures(
        _audit(np.repeat(verdicts, 10), np.repeat(verdicts, 10), np.repeat(range(40), 10), np.repeat(verdicts, 10))
    )["before"]
    assert ten["high"] - ten["low"] == pytest.approx(one["high"] - one["low"], rel=0.15)
