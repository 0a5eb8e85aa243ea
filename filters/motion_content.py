"""Keeps clips whose picture fits their caption. It says nothing about motion: such models can't see a tenth of a pixel."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from limbeck.models.roles import ScoreModel
from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, ModelRole, Reasons, Row, Run, settings

_BATCH = 64


@settings
class MotionContent(Filter):
    """Drops clips whose first frame and caption differ: cosine of their embeddings, as CLIP has them.

    A 224-px view of one frame decides about content alone; for motion there are `motion_range` and `motion_exact`.
    """

    name: ClassVar = "motion_content"
    version: ClassVar = 1
    reads: ClassVar = columns("frames", "caption")
    writes: ClassVar = (column("content", pa.float32(), model="matcher"),)
    reasons: ClassVar = ("content_low",)

    matcher: Annotated[str, ModelRole("score")] = "matcher"
    """The model of pictures and texts."""
    min_content: Annotated[float, Decision(), Ge(-1), Le(1)] = 0.2
    """Least similarity; 0.2 is for CLIP ViT-L/14, SigLIP's cosines are about 0.15 lower."""

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Similarity of each clip's first frame and its caption."""
        from PIL import Image

        from limbeck.motion.storage import decode_part

        scorer: ScoreModel = run.model(self.matcher)
        found: list[Row] = []
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            images = scorer.embed_images([Image.fromarray(decode_part(row["frames"], 0)) for row in batch])  # (N, D)
            texts = scorer.embed_texts([row["caption"] for row in batch])
            found += [{"content": float(value)} for value in np.sum(images * texts, axis=1)]
        return found

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        return ("content_low",) if row["content"] < self.min_content else ()
