"""What the teacher added: arms compared over paired seeds, with intervals, and in words that may be "nothing".

    S_A, S_C    main metric of labels alone, and of labels and teacher; T the teacher's own
    retained    S_C / T
    gain        S_C - S_A
    gap closed  (S_C - S_A) / (T - S_A), stated only where the teacher's lead T - S_A is itself beyond chance

S_C is the arm that is given out. Under `DESCRIPTIVE_BELOW` seeds nothing is concluded, nor a share of a gap stated.

Intervals are 95% percentile intervals of a bootstrap that resamples seeds (paired over arms) and, where a metric is a
mean over rows, test rows too, group by group (the same ones for every arm and the teacher).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.arm_names import ARMS
from distill.student import Metric, Scores

if TYPE_CHECKING:
    from distill.trainings import Training

RESAMPLES = 2000
DESCRIPTIVE_BELOW = 5
"""With fewer seeds than this the comparison is called descriptive."""


@dataclass(frozen=True)
class Interval:
    """A figure and its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def beyond_chance(self) -> bool:
        """Whether 0 is outside."""
        return self.low > 0 or self.high < 0


def compare(
    metrics: Sequence[Metric],
    trainings: Sequence[Training],
    teacher: Scores | None,
    arm: str = "both",
    seed: int = 0,
) -> dict[str, Any]:
    """Compares the arms by every metric.

    Args:
        metrics: of the student; the main one first.
        trainings: of all arms; seeds that an arm lacks are left out of its comparisons.
        teacher: its scores on the same rows.
        arm: the one that is given out, which `retained`, `gap_closed` and `verdict` are about.
        seed: of the bootstrap.

    Returns:
        `metric` to `arms` (name to `mean`, `low`, `high`, `values`), and, where labels and another arm are there,
        `gains` (arm to interval over labels alone), `retained`, `gap_closed`, `verdict`; `seeds`; `descriptive`.
    """
    by_arm: dict[str, dict[int, Training]] = {}
    for training in trainings:
        by_arm.setdefault(training.arm, {})[training.seed] = training
    seeds = sorted(set.intersection(*({*found} for found in by_arm.values())))
    found: dict[str, Any] = {"seeds": len(seeds), "descriptive": len(seeds) < DESCRIPTIVE_BELOW, "metrics": {}}
    for metric in metrics:
        arms = {name: [by_arm[name][n] for n in seeds] for name in by_arm}
        if all(metric.name in t.scores.values for each in arms.values() for t in each):
            each = _by_metric(metric, arms, teacher, arm, np.random.default_rng(seed))
            if found["descriptive"] and "verdict" in each:
                each["verdict"] = (
                    f"Descriptive: {len(seeds)} {'seed is' if len(seeds) == 1 else 'seeds are'} too few to conclude anything."
                )
                each.pop("gap_closed", None)
            found["metrics"][metric.name] = each
    return found


def _by_metric(
    metric: Metric,
    arms: Mapping[str, Sequence[Training]],
    teacher: Scores | None,
    arm: str,
    rng: np.random.Generator,
) -> dict[str, Any]:
    draws = _resampled(metric, arms, teacher, rng)
    sign = 1.0 if metric.better == "higher" else -1.0
    own = {name: np.array([t.scores.values[metric.name] for t in each]) for name, each in arms.items()}
    found: dict[str, Any] = {
        "arms": {
            name: {"values": own[name].tolist(), **vars(_interval(float(own[name].mean()), draws[name]))}
            for name in own
        }
    }
    means = {name: float(values.mean()) for name, values in own.items()}
    if teacher is not None and metric.name in teacher.values:
        means["teacher model"] = teacher.values[metric.name]
        found["teacher"] = vars(_interval(means["teacher model"], draws["teacher model"]))
    if "labels" in own:
        gains = {name: _interval(sign * (means[name] - means["labels"]), sign * (draws[name] - draws["labels"])) for name in own if name != "labels"}  # fmt: skip
        found["gains"] = {name: vars(gain) for name, gain in gains.items()}
        if arm in gains and "teacher model" in means and not metric.to_teacher:
            lead = _interval(
                sign * (means["teacher model"] - means["labels"]), sign * (draws["teacher model"] - draws["labels"])
            )
            found["lead"] = vars(lead)
            if lead.low > 0:
                with np.errstate(divide="ignore", invalid="ignore"):
                    shares = (draws[arm] - draws["labels"]) / (draws["teacher model"] - draws["labels"])
                share = (means[arm] - means["labels"]) / (means["teacher model"] - means["labels"])
                found["gap_closed"] = vars(_interval(share, shares[np.isfinite(shares)]))
            found["verdict"] = verdict(gains[arm], lead)
    if metric.better == "higher" and not metric.to_teacher and arm in own and means.get("teacher model"):
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = draws[arm] / draws["teacher model"]
        found["retained"] = vars(_interval(means[arm] / means["teacher model"], kept[np.isfinite(kept)]))
    return found


def _resampled(
    metric: Metric, arms: Mapping[str, Sequence[Training]], teacher: Scores | None, rng: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Means of each arm, and the teacher's value, over `RESAMPLES` draws of seeds and rows."""
    first = next(iter(arms.values()))
    n = len(first)
    seeds = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n  # (R, seeds)
    by_row = all(metric.name in t.scores.items for each in arms.values() for t in each)
    known = teacher is not None and metric.name in teacher.values
    if not by_row or (known and metric.name not in teacher.items):
        found = {name: seeds @ np.array([t.scores.values[metric.name] for t in each]) for name, each in arms.items()}
        return found | ({"teacher model": np.full(RESAMPLES, teacher.values[metric.name])} if known else {})
    rows, groups = len(first[0].scores.items[metric.name]), first[0].scores.groups
    groups = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    n = int(groups.max()) + 1
    weights = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float32)[:, groups]  # (R, rows)

    def means(items: NDArray[np.float64]) -> NDArray[np.float64]:
        there = np.isfinite(items).astype(np.float32)
        return (weights @ np.where(there > 0, items, 0.0)) / np.maximum(1.0, weights @ there)

    found = {
        name: (np.stack([means(t.scores.items[metric.name]) for t in each], 1) * seeds).sum(1)
        for name, each in arms.items()
    }
    return found | ({"teacher model": means(teacher.items[metric.name])} if known else {})


def _interval(value: float, draws: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975]) if len(draws) else (value, value)
    return Interval(value, float(low), float(high))


def verdict(gain: Interval, lead: Interval) -> str:
    """What the teacher added, in words.

    >>> verdict(Interval(0.1, 0.05, 0.15), Interval(0.2, 0.1, 0.3))
    'The teacher added something: the gain over labels alone is beyond chance.'
    >>> verdict(Interval(0.01, -0.02, 0.03), Interval(0.2, 0.1, 0.3))
    'No gain: what the teacher added to labels alone is within chance.'
    """
    if gain.high < 0:
        return "Negative: with the teacher the student is worse than with labels alone."
    if gain.low <= 0:
        return "No gain: what the teacher added to labels alone is within chance."
    words = "The teacher added something: the gain over labels alone is beyond chance"
    return words + ("." if lead.low > 0 else ", though the teacher itself is no better than labels alone.")


def words(arm: str) -> str:
    """An arm in words."""
    return ARMS[arm].about
