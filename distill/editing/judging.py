"""Edits, judged: did the edit happen, did the rest stay; how both move with s_I; what an edit costs.

    edited              (N, S, S, 3) uint8, every row edited as the student is meant to be asked
    edited scale=1.5    (M, S, S, 3) the first M rows at another s_I: points of the curve
    edited steps=8      (M, S, S, 3) in another number of steps
    seconds             (K,) of single edits, after warm-up
    evaluations         (1,) rows that the U-Net sees for one edit

A row's noise is a function of its id, so every model that is compared begins from the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.editing.latents import EDITED_PICTURE, INSTRUCTION, SOURCE_PICTURE, picture
from distill.student import Answers, Metric, Scores
from limbeck import seeds
from limbeck.scores import pair_similarities

if TYPE_CHECKING:
    from limbeck.models.edit_diffusers import Asked, DiffusersEditModel

EDITED = "edited"
_BATCH = 32
_WARMUP = 3
METRICS = {
    "attributes": (
        Metric("success", about="the edit happened and everything else stayed, attribute by attribute"),
        Metric("direction", about="what was asked to change reads as asked"),
        Metric("preservation", about="what wasn't asked to change reads the same"),
    ),
    "similarity": (
        Metric("direction", about="cosine of the change of the picture with the change of its caption"),
        Metric("preservation", about="cosine of the pictures before and after"),
        Metric("target", about="cosine of the edited picture and its caption"),
    ),
}
"""By `measure`: attributes, read by `mini:reader`; similarities, in the space of a judge that plays the role `score`."""
COSTS = (
    Metric("evaluations", "lower", about="rows that the U-Net sees for one edit"),
    Metric("p50_ms", "lower", about="median time of one edit alone, in milliseconds"),
    Metric("p95_ms", "lower", about="95th percentile of it"),
)


@dataclass(frozen=True)
class Looks:
    """What is edited besides the main setting.

    Attributes:
        scales: values of s_I.
        steps: numbers of steps.
        rows: rows of each such point.
        timed: single edits that are timed.
    """

    scales: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    rows: int = 200
    timed: int = 20


def seed_of(row: Mapping[str, Any]) -> int:
    """Of a row's noise, whichever model edits it.

    >>> seed_of({"id": "a"}) == seed_of({"id": "a", "edit_prompt": "make it night"})
    True
    """
    return seeds.seed(0, "edit", str(row["id"]))


def answers(
    model: DiffusersEditModel, rows: Sequence[dict[str, Any]], size: int, looks: Looks | None = None
) -> Answers:
    """Edits held-out rows.

    Args:
        model: the editor.
        rows: with `original_image` and `edit_prompt`.
        size: side of the pictures.
        looks: what else is edited; nothing without.
    """
    before = np.stack([np.asarray(picture(row, SOURCE_PICTURE, size)) for row in rows])

    def edited(count: int, asked: Asked) -> NDArray[np.uint8]:
        found = []
        for at in range(0, count, _BATCH):
            some = rows[at : min(count, at + _BATCH)]
            told, noise = [row[INSTRUCTION] for row in some], [seed_of(row) for row in some]
            found.append(model.edit_pixels(before[at : at + len(some)], told, noise, asked))
        return np.concatenate(found)

    found: Answers = {
        EDITED: edited(len(rows), model.asked),
        "evaluations": np.array([model.evaluations()], np.float64),
    }
    if looks is None:
        return found
    some = min(looks.rows, len(rows))
    for scale in looks.scales:
        found[f"{EDITED} scale={scale:g}"] = edited(some, replace(model.asked, image_guidance_scale=scale))
    for steps in looks.steps:
        found[f"{EDITED} steps={steps}"] = edited(some, replace(model.asked, steps=steps))
    found["seconds"] = timed(lambda i: edited_alone(model, before, rows, i % len(rows)), looks.timed)
    return found


def edited_alone(
    model: DiffusersEditModel, before: NDArray[np.uint8], rows: Sequence[dict[str, Any]], at: int
) -> NDArray[np.uint8]:
    """One edit by itself, as somebody who waits for it would ask for it."""
    return model.edit_pixels(before[at : at + 1], [rows[at][INSTRUCTION]], [seed_of(rows[at])])


def timed(once: Callable[[int], Any], runs: int) -> NDArray[np.float64]:
    """(runs,) seconds of each run, after a few that don't count."""
    found = []
    for n in range(_WARMUP + runs):
        start = time.perf_counter()
        once(n)
        if n >= _WARMUP:
            found.append(time.perf_counter() - start)
    return np.array(found)


def dataset_answers(rows: Sequence[dict[str, Any]], size: int) -> dict[str, Answers]:
    """The dataset's own edited pictures, which are the most that can be learnt from it, and the pictures left alone."""
    return {
        "the dataset's own pairs": {EDITED: np.stack([np.asarray(picture(r, EDITED_PICTURE, size)) for r in rows])},
        "nothing done": {EDITED: np.stack([np.asarray(picture(r, SOURCE_PICTURE, size)) for r in rows])},
    }


def score(found: Answers, rows: Sequence[dict[str, Any]], judge: Any, size: int) -> Scores:
    """Scores edits.

    Args:
        found: of `answers`.
        rows: the same rows.
        judge: `limbeck.models.reader.Reader`, or a model of the role `score`.
        size: side of the pictures.
    """
    before = np.stack([np.asarray(picture(row, SOURCE_PICTURE, size)) for row in rows])
    judged = Judged(judge, before, rows)
    items = judged.items(found[EDITED])
    values = {name: float(np.nanmean(each)) for name, each in items.items()}
    more: dict[str, Any] = {"by_edit_type": _by_type(items, rows)}
    for kind in ("scale", "steps"):
        points = [name for name in found if name.startswith(f"{EDITED} {kind}=")]
        more[kind] = [
            {kind: float(name.rpartition("=")[2])}
            | {metric: float(np.nanmean(each)) for metric, each in judged.items(found[name]).items()}
            for name in points
        ]
    if "evaluations" in found:
        values["evaluations"] = float(found["evaluations"][0])
    if "seconds" in found:
        values["p50_ms"], values["p95_ms"] = (float(1e3 * np.percentile(found["seconds"], q)) for q in (50, 95))
    groups = np.array([str(row.get("group") or row["id"].partition("/")[0]) for row in rows])
    return Scores(values, items, groups, {k: v for k, v in more.items() if v})


class Judged:
    """A judge and the pictures before, looked at once."""

    def __init__(self, judge: Any, before: NDArray[np.uint8], rows: Sequence[dict[str, Any]]) -> None:
        self._judge, self._rows = judge, rows
        self._reads = hasattr(judge, "read")
        self._before = judge.read(_read_size(before)) if self._reads else self._embed(before)

    def items(self, after: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        """Each metric's value of the first rows; NaN where a row's words ask for no edit that can be judged."""
        n, rows = len(after), self._rows[: len(after)]
        if not self._reads:
            texts = [self._judge.embed_texts([row[c] for row in rows]) for c in ("original_prompt", "edited_prompt")]
            found = pair_similarities(self._before[:n], self._embed(after), *texts)
            names = {"direction": "clip_sim_dir", "preservation": "clip_sim_image", "target": "clip_sim_target"}
            return {name: found[column].astype(np.float64) for name, column in names.items()}
        from limbeck.storybook.truth import judge

        said = judge(
            self._before[:n],
            self._judge.read(_read_size(after)),
            [row["original_prompt"] for row in rows],
            [row[INSTRUCTION] for row in rows],
        )
        kinds = {"success": said.right, "direction": said.happened, "preservation": said.stayed}
        return {name: np.where(said.asked, each, np.nan) for name, each in kinds.items()}

    def _embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        from PIL import Image

        found = [
            self._judge.embed_images([Image.fromarray(p) for p in pixels[i : i + _BATCH]])
            for i in range(0, len(pixels), _BATCH)
        ]
        return np.concatenate(found)


def _read_size(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    from limbeck.models.reader import as_pixels

    return pixels if pixels.shape[1:3] == (64, 64) else as_pixels([Image.fromarray(p) for p in pixels])


def _by_type(items: Mapping[str, NDArray[np.float64]], rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means of each metric by `edit_type`, where rows have one."""
    kinds = np.array([row.get("edit_type") or "" for row in rows])
    return {
        str(kind): {name: float(np.nanmean(each[kinds == kind])) for name, each in items.items()}
        | {"rows": int((kinds == kind).sum())}
        for kind in sorted({*kinds} - {""})
    }


def fewest_steps(points: Sequence[Mapping[str, float]], metric: str, within: float = 0.01) -> int:
    """The fewest steps whose figure is within `within` of that in the most steps.

    >>> fewest_steps([{"steps": 4, "success": .80}, {"steps": 8, "success": .895}, {"steps": 100, "success": .9}], "success")
    8
    """
    most = max(points, key=lambda p: p["steps"])
    return int(min(p["steps"] for p in points if p[metric] >= most[metric] - within))
