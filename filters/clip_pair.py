"""Keeps pairs whose pictures fit their captions and change as the captions do: InstructPix2Pix's filter."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le
from pydantic import model_validator
from pydantic_core import ArgsKwargs

from limbeck.errors import SettingError
from limbeck.models.roles import ScoreModel
from limbeck.pictures import Fault, decode
from limbeck.records import column, columns
from limbeck.scores import SIMILARITIES, pair_similarities
from limbeck.stage import Decision, Filter, ModelRole, Reasons, Row, Run, settings

PRESETS: dict[str, dict[str, float]] = {
    "paper": {"min_source": 0.2, "min_target": 0.2, "min_direction": 0.2, "min_image": 0.75, "max_image": 1.0},
    "script": {"min_source": 0.2, "min_target": 0.2, "min_direction": 0.2, "min_image": 0.7, "max_image": 1.0},
}
"""Thresholds of the InstructPix2Pix paper, and the defaults of its script. Both for CLIP ViT-L/14."""

_PAIR = ("original_image", "edited_image", "original_prompt", "edited_prompt")
_Threshold = Annotated[float, Decision(), Ge(-1), Le(1)]


@settings
class ClipPair(Filter):
    """Drops pairs whose pictures don't fit their captions, don't change as the captions do, or hardly change.

    Four cosines, as InstructPix2Pix has them: before picture and caption, after picture and caption, direction
    (change of picture against change of caption), before and after picture. What a generator computed with the same
    model is used; otherwise the stored pictures are scored, as decoded from their files. A row is kept when every
    score reaches its `min_...`, and the pictures' similarity is at most `max_image`.

    Thresholds belong to a model: 0.2 is right for CLIP ViT-L/14; SigLIP's cosines run near 0.1 where CLIP's run near
    0.25. They differ between kinds of edits too: `by.edit_type.remove = { min_target = 0.15 }`.

    Source: Brooks et al. 2023, InstructPix2Pix (arXiv 2211.09800), section 3.1.2.
    """

    name: ClassVar = "clip_pair"
    version: ClassVar = 1
    reasons: ClassVar = ("source_low", "target_low", "direction_low", "image_low", "copy", "score_missing")
    fills: ClassVar = {"preset": tuple(PRESETS["paper"])}

    matcher: Annotated[str, ModelRole("score")] = "matcher"
    """The model of pictures and texts; "" to decide on scores that the rows bring along."""
    preset: Annotated[Literal["paper", "script"] | None, Decision()] = None
    """Fills the thresholds that the recipe leaves out: `paper` (image 0.75) or `script` (image 0.7)."""
    min_source: _Threshold = 0.2
    """Least similarity of the before picture and its caption."""
    min_target: _Threshold = 0.2
    """Least similarity of the after picture and its caption."""
    min_direction: _Threshold = 0.2
    """Least direction similarity."""
    min_image: _Threshold = 0.7
    """Least similarity of both pictures: less, and the edit changed more than it should."""
    max_image: _Threshold = 0.99
    """Greatest similarity of both pictures: more, and the after picture is a copy. 1 is no bound."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        values = (given.kwargs or {}) if isinstance(given, ArgsKwargs) else given
        return {**PRESETS.get(values.get("preset"), {}), **values}

    def __post_init__(self) -> None:
        if self.min_image > self.max_image:
            raise SettingError(f"min_image = {self.min_image}", expected=f"at most max_image = {self.max_image}")

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """Pictures and captions; the scores themselves where there is no model."""
        return columns(*SIMILARITIES) if not self.matcher else columns(*_PAIR)

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        """The four scores, and whether a caption was longer than the model reads."""
        if not self.matcher:
            return ()
        return (*columns(*SIMILARITIES, model="matcher"), column("text_truncated", pa.bool_(), model="matcher"))

    def bounds(self) -> dict[str, tuple[float, float]]:
        """Least and greatest value of each score that keeps a row."""
        return {
            "clip_sim_source": (self.min_source, 1.0),
            "clip_sim_target": (self.min_target, 1.0),
            "clip_sim_dir": (self.min_direction, 1.0),
            "clip_sim_image": (self.min_image, self.max_image),
        }

    def decides_on(self) -> tuple[str, ...]:
        """The four scores."""
        return SIMILARITIES

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Scores of each row; null where a picture can't be read."""
        if not self.matcher:
            return [{} for _ in rows]
        scorer: ScoreModel = run.model(self.matcher)
        here = all(run.computed(name, self.matcher) for name in SIMILARITIES)
        out = [{name: row.get(name) if here else None for name in SIMILARITIES} for row in rows]
        todo = [i for i, scores in enumerate(out) if any(value is None for value in scores.values())]
        for start in range(0, len(todo), 64):
            batch = todo[start : start + 64]
            for i, scores in zip(batch, _score_stored([rows[i] for i in batch], scorer), strict=True):
                out[i].update(scores)
        captions = [row[name] or "" for row in rows for name in ("original_prompt", "edited_prompt")]
        cut = scorer.truncated(captions)
        return [scores | {"text_truncated": any(cut[2 * i : 2 * i + 2])} for i, scores in enumerate(out)]

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        masks = self.decide_columns({name: np.array([row[name]], dtype=np.float32) for name in SIMILARITIES})
        return tuple(reason for reason, dropped in masks.items() if dropped[0])

    def decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same for whole columns; compared in float32, as scores are stored, so that 0.2 reaches 0.2."""
        source, target, direction, image = (np.asarray(columns[name], dtype=np.float32) for name in SIMILARITIES)
        limit = np.float32
        return {
            "source_low": source < limit(self.min_source),
            "target_low": target < limit(self.min_target),
            "direction_low": direction < limit(self.min_direction),
            "image_low": image < limit(self.min_image),
            "copy": image > limit(self.max_image),
            "score_missing": ~np.isfinite(source + target + direction + image),
        }


def _score_stored(rows: list[Row], scorer: ScoreModel) -> list[dict[str, float | None]]:
    """Scores of rows from their stored files; null for a row with a picture or caption that can't be used."""
    pairs = [(decode(row["original_image"]), decode(row["edited_image"])) for row in rows]
    good = [
        i
        for i, (row, pair) in enumerate(zip(rows, pairs, strict=True))
        if not any(isinstance(p, Fault) for p in pair) and row["original_prompt"] and row["edited_prompt"]
    ]
    images = scorer.embed_images([picture for i in good for picture in pairs[i]])  # (2n, D)
    captions = [rows[i][name] for i in good for name in ("original_prompt", "edited_prompt")]
    texts = scorer.embed_texts(captions)  # (2n, D)
    found = pair_similarities(images[::2], images[1::2], texts[::2], texts[1::2])
    out: list[dict[str, float | None]] = [dict.fromkeys(SIMILARITIES) for _ in rows]
    for n, i in enumerate(good):
        out[i] = {name: float(values[n]) for name, values in found.items()}
    return out
