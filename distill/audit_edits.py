"""How often an edit really happened and the rest stayed, before and after filtering: `OUT/report/truth.json`.

`mini:reader` reads both pictures of every rendered pair, and the grammar says what was asked (`storybook.truth`).
Pairs of one prompt are alike, so every interval comes from a bootstrap over prompts, not over pairs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from limbeck.pictures import Fault, decode
from limbeck.storybook.truth import Verdicts, judge

if TYPE_CHECKING:
    from pathlib import Path

    from limbeck.built import Build
    from limbeck.models.reader import Reader

RESAMPLES = 2000
SCORES = ("clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image")
_WORDS = ("original_prompt", "edit_prompt")


@dataclass(frozen=True)
class Audit:
    """One entry per rendered pair.

    Attributes:
        verdicts: of the judge.
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


def audit_build(built: Build) -> dict[str, Any] | None:
    """Audits a storybook build of edit pairs and writes `report/truth.json`, then report and card anew.

    Verdicts are kept beside it, so that after a refilter nothing is read, and no model loaded, again.

    Returns:
        The figures, or None where there is no truth to hold the pairs against, or rejected pictures weren't kept.
    """
    from limbeck.card import write_card
    from limbeck.report import write_report

    renders = [t.id for t in built.recipe.stages if any(f.name == "edited_image" for f in t.stage.writes)]
    if built.recipe.source.storybook is None or not renders or built.recipe.dataset.keep_rejected != "all":
        return None
    known = built.path / "report" / "verdicts.parquet"
    ids = [row["id"] for row in built.rows(renders[-1], columns=["id"])]
    if not ids:
        return None
    if not known.is_file() or pq.read_table(known, columns=["id"])["id"].to_pylist() != ids:
        _write_verdicts(built, renders[-1], known)
    table = pq.read_table(known)
    kept = {row["id"] for row in built.rows(columns=["id"])}
    result = Audit(
        Verdicts(*(table[name].to_numpy() for name in ("asked", "happened", "stayed"))),
        np.array([i in kept for i in ids]),
        np.unique(table["parent_id"].to_pylist(), return_inverse=True)[1],
        {name: table[name].to_numpy() for name in SCORES if name in table.column_names},
        table["edit_type"].to_pylist(),
    )
    found = figures(result) | {"reader_error": _reader_error()}
    (built.path / "report" / "truth.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_report(built)
    write_card(built)
    return found


def _write_verdicts(built: Build, stage: str, path: Path) -> None:
    """Reads every pair of a build and keeps what the judge says of it, with its scores."""
    from limbeck.models.reader import Reader

    have = {field.name for field in built.fields(stage)}
    scores = [name for name in SCORES if name in have]
    facts: dict[str, list[Any]] = {name: [] for name in ("id", "parent_id", "edit_type", *scores)}

    def rows() -> Iterator[Mapping[str, Any]]:
        for row in built.rows(stage, columns=[*facts, *_WORDS, "original_image", "edited_image"]):
            for name, values in facts.items():
                values.append(row[name])
            yield row

    verdicts = read_pairs(rows(), Reader.load())
    columns = {name: pa.array(values, pa.float32() if name in scores else None) for name, values in facts.items()}
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns | {k: pa.array(v) for k, v in vars(verdicts).items()}), path)


def read_pairs(rows: Iterable[Mapping[str, Any]], reader: Reader, batch: int = 256) -> Verdicts:
    """Reads both pictures of every pair and judges it.

    Args:
        rows: pairs with `original_image`, `edited_image`, `original_prompt` and `edit_prompt`.
        reader: the judge.
        batch: pairs at a time; only one batch's pictures are in memory.

    Raises:
        ValueError: a picture can't be decoded.
    """
    from limbeck.models.reader import as_pixels

    seen: dict[str, list[NDArray[np.int64]]] = {"original_image": [], "edited_image": []}
    words: dict[str, list[str]] = {name: [] for name in _WORDS}
    waiting: list[Mapping[str, Any]] = []

    def read() -> None:
        for side, out in seen.items():
            pictures = [decode(row[side]) for row in waiting]
            if faults := [p for p in pictures if isinstance(p, Fault)]:
                raise ValueError(f"a rendered picture is {faults[0].reason}: {faults[0].detail}")
            out.append(reader.read(as_pixels([p for p in pictures if not isinstance(p, Fault)])))
        waiting.clear()

    for row in rows:
        waiting.append(row)
        for name, values in words.items():
            values.append(row[name])
        if len(waiting) == batch:
            read()
    if waiting:
        read()
    before, after = (np.concatenate(parts) for parts in seen.values())
    return judge(before, after, *words.values())


def _reader_error() -> float | None:
    """The worse of the judge's two errors on pairs, as measured with its weights."""
    from limbeck.models import MINIATURES

    path = MINIATURES / "reader" / "figures.json"
    if not path.is_file():
        return None
    known = json.loads(path.read_text(encoding="utf-8"))
    return max(known["true_edits_called_wrong"], known["wrong_edits_called_right"])


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
