"""What the teacher added. Oracles: figures and intervals worked out by hand, and rows simulated with a known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.arms import Interval, compare, verdict
from distill.student import Metric, Scores, Term, sensible_arms, terms_for
from distill.trainings import Training

HIGHER, LOWER = Metric("right"), Metric("nll", "lower")


def training(arm, seed, values, items=None, groups=None) -> Training:
    return Training(arm, seed, Scores(values, items or {}, groups), {}, Path())


def right(share, rows, seed):
    """Rows of which about that share is right."""
    found = (np.random.default_rng(seed).random(rows) < share).astype(float)
    return {"right": found.mean()}, {"right": found}


def arms(shares, seeds=6, rows=800):
    return [
        training(arm, n, *right(share, rows, [n, k]))
        for k, (arm, share) in enumerate(shares.items())
        for n in range(seeds)
    ]


def teacher(share=0.95, rows=800):
    return Scores(*right(share, rows, [99]))


def test_the_share_of_the_gap_by_hand():
    """Labels 0.5, both 0.8, teacher 0.9: 0.3 of 0.4 is closed, 8/9 retained. No spread, so the intervals are points."""
    found = compare(
        [HIGHER],
        [training(a, n, {"right": v}) for a, v in {"labels": 0.5, "both": 0.8}.items() for n in range(6)],
        Scores({"right": 0.9}),
    )["metrics"]["right"]
    assert found["gap_closed"] == pytest.approx({"value": 0.75, "low": 0.75, "high": 0.75})
    assert found["retained"]["value"] == pytest.approx(8 / 9)
    assert found["gains"]["both"]["value"] == pytest.approx(0.3)
    assert "added something" in found["verdict"]


def test_a_metric_that_should_be_low_gains_by_falling():
    found = compare(
        [LOWER],
        [training(a, n, {"nll": v}) for a, v in {"labels": 0.5, "both": 0.2}.items() for n in range(6)],
        Scores({"nll": 0.1}),
    )["metrics"]["nll"]
    assert found["gains"]["both"]["value"] == pytest.approx(0.3)
    assert found["gap_closed"]["value"] == pytest.approx(0.75)
    assert "retained" not in found  # a ratio of losses retains nothing


def test_a_real_gain_is_seen_and_a_sham_is_not():
    """Simulated truth: labels 0.70, both 0.85, sham 0.70."""
    found = compare([HIGHER], arms({"labels": 0.7, "both": 0.85, "sham": 0.7}), teacher())["metrics"]["right"]
    assert found["gains"]["both"]["low"] > 0.1
    assert found["gains"]["sham"]["low"] < 0 < found["gains"]["sham"]["high"]
    assert found["gap_closed"]["low"] < 0.15 / 0.25 < found["gap_closed"]["high"]


def test_no_gain_is_called_no_gain():
    found = compare([HIGHER], arms({"labels": 0.8, "both": 0.8}), teacher())["metrics"]["right"]
    assert found["verdict"].startswith("No gain")


def test_a_loss_is_called_negative():
    found = compare([HIGHER], arms({"labels": 0.8, "both": 0.6}), teacher())["metrics"]["right"]
    assert found["verdict"].startswith("Negative")


def test_no_share_of_a_gap_that_may_not_be_there():
    """The teacher is as good as labels alone: a share of a lead that is within chance would be any number."""
    found = compare([HIGHER], arms({"labels": 0.8, "both": 0.83}), teacher(0.8))["metrics"]["right"]
    assert "gap_closed" not in found
    assert found["lead"]["low"] <= 0


def test_few_seeds_describe_and_conclude_nothing():
    found = compare([HIGHER], arms({"labels": 0.7, "both": 0.85}, seeds=3), teacher())
    assert found["descriptive"]
    assert "gap_closed" not in found["metrics"]["right"]
    assert found["metrics"]["right"]["verdict"] == "Descriptive: 3 seeds are too few to conclude anything."
    assert found["metrics"]["right"]["gains"]["both"]["value"] == pytest.approx(0.15, abs=0.03)


def test_the_comparison_is_of_the_arm_that_is_given_out():
    """Simulated truth: labels 0.70, both 0.70, the teacher alone 0.85."""
    trained = arms({"labels": 0.7, "both": 0.7, "teacher": 0.85})
    found = compare([HIGHER], trained, teacher(), arm="teacher")["metrics"]["right"]
    assert "added something" in found["verdict"]
    assert found["retained"]["value"] == pytest.approx(0.85 / 0.95, abs=0.02)
    assert compare([HIGHER], trained, teacher())["metrics"]["right"]["verdict"].startswith("No gain")


def test_a_teacher_behind_labels_is_said_so():
    gain, lead = Interval(0.1, 0.05, 0.15), Interval(-0.1, -0.2, -0.05)
    assert verdict(gain, lead).endswith("though the teacher itself is no better than labels alone.")


def test_intervals_cover_what_they_should():
    """40 repetitions of a true difference of 0.1: about 95% of the intervals hold it, 2 of 40 don't."""
    inside = 0
    for n in range(40):
        trainings = [
            training(a, s, *right(share, 200, [n, s, k])) for k, (a, share) in enumerate((("labels", 0.6), ("both", 0.7))) for s in range(6)
        ]  # fmt: skip
        gain = compare([HIGHER], trainings, None)["metrics"]["right"]["gains"]["both"]
        inside += gain["low"] <= 0.1 <= gain["high"]
    assert inside >= 34


def test_rows_of_a_group_are_resampled_together():
    """Twenty copies of each row say no more than one: the interval is as wide as that of the rows themselves."""
    items = np.tile((np.arange(50) % 2).astype(float), 20)
    groups = np.tile(np.arange(50), 20)

    def width(groups):
        found = compare([HIGHER], [training("labels", 0, {"right": 0.5}, {"right": items}, groups)], None)
        arm = found["metrics"]["right"]["arms"]["labels"]
        return arm["high"] - arm["low"]

    assert width(groups) > 3 * width(None)


def test_few_seeds_are_called_descriptive():
    assert compare([HIGHER], arms({"labels": 0.5}, seeds=3), None)["descriptive"]
    assert not compare([HIGHER], arms({"labels": 0.5}, seeds=6), None)["descriptive"]


def test_seeds_that_an_arm_lacks_are_left_out():
    trainings = arms({"labels": 0.5, "both": 0.6}, seeds=4)[:-1]
    found = compare([HIGHER], trainings, None)
    assert found["seeds"] == 3
    assert len(found["metrics"]["right"]["arms"]["labels"]["values"]) == 3


class Both:
    terms = {"ce": Term("label"), "kd": Term("teacher", 2.0), "dkd": Term("both")}  # noqa: RUF012


class Labels:
    terms = {"ce": Term("label")}  # noqa: RUF012


def test_arms_see_the_terms_that_they_may():
    assert terms_for(Both, ["label"], {}) == {"ce": 1.0}
    assert terms_for(Both, ["teacher"], {"kd": 0.5}) == {"kd": 0.5}
    assert terms_for(Both, ["label", "teacher"], {}) == {"ce": 1.0, "kd": 2.0, "dkd": 1.0}
    assert sensible_arms(Both) == ("labels", "teacher", "both", "longer", "sham")
    assert sensible_arms(Labels) == ("labels",)
