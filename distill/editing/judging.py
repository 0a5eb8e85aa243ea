"""Edits, judged: did the edit happen, did the rest stay.

A row's noise is a function of its id, so every model that is compared begins from the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.dataset import group_of
from distill.editing.latents import EDITED_PICTURE, INSTRUCTION, SOURCE_PICTURE, picture
from distill.student import Answers, Metric, Scores
from limbeck import seeds
from limbeck.scores import pair_similarities

EDITED, EVALUATIONS = "edited", "evaluations"
"""Answers: (N, S, S, 3) uint8, and (N,) rows that the U-Net saw for each."""
_BATCH = 32
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
COST = Metric(EVALUATIONS, "lower", about="rows that the U-Net sees for one edit")


def seed_of(row: Mapping[str, Any]) -> int:
    """Of a row's noise, whichever model edits it.

    >>> seed_of({"id": "a"}) == seed_of({"id": "a", "edit_prompt": "make it night"})
    True
    """
    return seeds.seed(0, "edit", str(row["id"]))


def pixels_of(rows: Sequence[Mapping[str, Any]], column: str, size: int) -> NDArray[np.uint8]:
    """(N, size, size, 3) pictures of a column."""
    return np.stack([np.asarray(picture(row, column, size)) for row in rows])


def dataset_answers(rows: Sequence[dict[str, Any]], size: int) -> dict[str, Answers]:
    """The dataset's own edited pictures, which are the most that can be learnt from it, and the pictures left alone."""
    return {
        "the dataset's own pairs": {EDITED: pixels_of(rows, EDITED_PICTURE, size)},
        "nothing done": {EDITED: pixels_of(rows, SOURCE_PICTURE, size)},
    }


def score(found: Answers, rows: Sequence[dict[str, Any]], judge: Any, size: int) -> Scores:
    """Scores edits.

    Args:
        found: `edited`, and `evaluations` where a model made them.
        rows: the same rows.
        judge: `limbeck.models.reader.Reader`, or a model of the role `score`.
        size: side of the pictures.
    """
    items = Judged(judge, rows, size).items(found[EDITED])
    values = {name: mean(each) for name, each in items.items()}
    if EVALUATIONS in found:
        values[EVALUATIONS] = float(np.mean(found[EVALUATIONS]))
    groups = np.array([group_of(row) for row in rows])
    return Scores(values, items, groups, {"by_edit_type": _by_type(items, rows)})


def mean(values: NDArray[np.float64]) -> float:
    """Of what isn't NaN; NaN where everything is.

    >>> mean(np.array([1.0, np.nan, 0.0]))
    0.5
    """
    there = values[np.isfinite(values)]
    return float(there.mean()) if len(there) else float("nan")


class Judged:
    """A judge, and the pictures before, looked at once."""

    def __init__(self, judge: Any, rows: Sequence[dict[str, Any]], size: int) -> None:
        self._judge, self._rows = judge, rows
        self._reads = hasattr(judge, "read")
        self._before = self._look(pixels_of(rows, SOURCE_PICTURE, size))

    def items(self, after: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        """Each metric's value of each row; NaN where a row's words ask for no edit that can be judged.

        Args:
            after: (N, S, S, 3) edited pictures.
        """
        rows = self._rows
        if not self._reads:
            texts = [self._judge.embed_texts([row[c] for row in rows]) for c in ("original_prompt", "edited_prompt")]
            found = pair_similarities(self._before, self._look(after), *texts)
            names = {"direction": "clip_sim_dir", "preservation": "clip_sim_image", "target": "clip_sim_target"}
            return {name: found[column].astype(np.float64) for name, column in names.items()}
        from limbeck.storybook.truth import judge

        captions, told = [row["original_prompt"] for row in rows], [row[INSTRUCTION] for row in rows]
        said = judge(self._before, self._look(after), captions, told)
        kinds = {"success": said.right, "direction": said.happened, "preservation": said.stayed}
        return {name: np.where(said.asked, each, np.nan) for name, each in kinds.items()}

    def _look(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Attributes or embeddings of pictures."""
        if self._reads:
            from limbeck.models.reader import as_pixels

            fits = pixels.shape[1:3] == (64, 64)
            return self._judge.read(pixels if fits else as_pixels([Image.fromarray(p) for p in pixels]))
        batches = [pixels[i : i + _BATCH] for i in range(0, len(pixels), _BATCH)]
        return np.concatenate([self._judge.embed_images([Image.fromarray(p) for p in some]) for some in batches])


def _by_type(items: Mapping[str, NDArray[np.float64]], rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means of each metric by `edit_type`, where rows have one."""
    kinds = np.array([row.get("edit_type") or "" for row in rows])
    found = {}
    for kind in sorted({*kinds} - {""}):
        of_kind = kinds == kind
        found[str(kind)] = {name: mean(each[of_kind]) for name, each in items.items()} | {"rows": int(of_kind.sum())}
    return found
