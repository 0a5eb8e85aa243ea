"""How often an edit really happened and the rest stayed, before and after filtering: `OUT/report/truth.json`.

`mini:reader` reads both pictures of every rendered pair, and the grammar says what was asked (`storybook.truth`).
Pairs of one prompt are alike, so every interval comes from a bootstrap over prompts, not over pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.models.reader import Reader, as_pixels
from limbeck.pictures import decode
from limbeck.storybook.truth import Verdicts, judge

RESAMPLES = 2000


@dataclass(frozen=True)
class Audit:
    """One entry per rendered pair.

    Attributes:
        right: edit happened and the rest stayed.
        kept: it is in the dataset.
        cluster: its prompt, as an index.
        scores: score column to (N,) float32.
        edit_type: of each pair.
    """

    verdicts: Verdicts
    kept: NDArray[np.bool_]
    cluster: NDArray[np.int64]
    scores: Mapping[str, NDArray[np.float32]]
    edit_type: list[str]

    @property
    def right(self) -> NDArray[np.bool_]:
        """The edit happened and the rest stayed."""
        return self.verdicts.right


def audit(rows: Iterable[Mapping[str, Any]], kept: set[str], reader: Reader, batch: int = 256) -> Audit:
    """Reads every pair.

    Args:
        rows: rendered pairs, kept or not, with pictures, prompts, `parent_id` and scores.
        kept: ids in the dataset.
        reader: the judge.
        batch: pairs at a time; only one batch's pictures are in memory.
    """
    columns: dict[str, list[Any]] = {k: [] for k in ("id", "cluster", "edit_type", "caption", "instruction")}
    scores: dict[str, list[float]] = {}
    before, after, waiting = [], [], []

    def read() -> None:
        for side, out in (("original_image", before), ("edited_image", after)):
            out.append(reader.read(as_pixels([decode(row[side]) for row in waiting])))
        waiting.clear()

    for row in rows:
        waiting.append(row)
        columns["id"].append(row["id"])
        columns["cluster"].append(row["parent_id"])
        columns["edit_type"].append(row.get("edit_type") or "")
        columns["caption"].append(row["original_prompt"])
        columns["instruction"].append(row["edit_prompt"])
        for name, value in row.items():
            if name.startswith("clip_sim_"):
                scores.setdefault(name, []).append(np.nan if value is None else value)
        if len(waiting) == batch:
            read()
    if waiting:
        read()
    if not before:
        raise ValueError("no rendered pair to audit")
    return Audit(
        judge(np.concatenate(before), np.concatenate(after), columns["caption"], columns["instruction"]),
        np.array([i in kept for i in columns["id"]]),
        np.unique(columns["cluster"], return_inverse=True)[1],
        {name: np.array(values, np.float32) for name, values in scores.items()},
        columns["edit_type"],
    )


def _sums(values: NDArray[Any], cluster: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    return np.bincount(cluster, values.astype(float), n)


def interval(ratios: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% percentile interval of resampled ratios; those with nothing in them are left out."""
    found = ratios[np.isfinite(ratios)]
    return (float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))) if len(found) else (0.0, 1.0)


def figures(result: Audit, *, score: str = "clip_sim_dir", seed: int = 0, points: int = 25) -> dict[str, Any]:
    """The figures of an audit, in the form that `limbeck.report.truth` reads.

    Args:
        result: of `audit`.
        score: the score whose threshold curve is drawn.
        seed: of the bootstrap.
        points: thresholds of the curve.
    """
    n = int(result.cluster.max()) + 1
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(float)

    def share(chosen: NDArray[np.bool_]) -> tuple[dict[str, Any], NDArray[np.float64]]:
        right = _sums(chosen & result.right, result.cluster, n)
        total = _sums(chosen, result.cluster, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            resampled = (weights @ right) / (weights @ total)
        low, high = interval(resampled)
        return {"n": int(total.sum()), "right": int(right.sum()), "low": low, "high": high}, resampled

    everything = np.ones(len(result.right), bool)
    before, resampled_before = share(everything)
    after, resampled_after = share(result.kept)
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = interval(resampled_after / resampled_before)
    curve = []
    values = result.scores.get(score)
    if values is not None and np.isfinite(values).any():
        for threshold in np.quantile(values[np.isfinite(values)], np.linspace(0, 0.98, points)):
            chosen = values >= threshold
            at, _ = share(chosen)
            curve.append(
                {
                    "threshold": float(threshold),
                    "precision": at["right"] / max(1, at["n"]),
                    "recall": at["right"] / max(1, before["right"]),
                    "low": at["low"],
                    "high": at["high"],
                    "n": at["n"],
                }
            )
    kinds = np.array(result.edit_type)
    return {
        "before": before,
        "after": {**after, "recall": after["right"] / max(1, before["right"])},
        "gain": {"low": low, "high": high},
        "score": score,
        "curve": curve,
        "by_edit_type": {
            kind: {"before": share(kinds == kind)[0], "after": share((kinds == kind) & result.kept)[0]}
            for kind in sorted(set(kinds))
        },
        "asked": float(result.verdicts.asked.mean()),
        "happened": float(result.verdicts.happened.mean()),
        "stayed": float(result.verdicts.stayed.mean()),
        "note": "Judged by mini:reader on every rendered pair; intervals by bootstrap over prompts.",
    }
