"""Keeps conversations whose words have to do with their pictures, by CLIP similarity."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le

from limbeck.models.roles import ScoreModel
from limbeck.pictures import Fault, decode
from limbeck.records import column, columns
from limbeck.scores import cosine
from limbeck.stage import Decision, Filter, ModelRole, Reasons, Row, Run, settings
from limbeck.turns import answers


@settings
class ClipRelevance(Filter):
    """Drops rows whose answers are about some other picture.

    The score is the greatest cosine of any of the row's pictures with its answers, put together and cut where the
    model's text ends. It can't tell counts, relations or a denial: it finds pictures that were swapped or lost, and
    is no filter of truth. Short answers say too little: rows with fewer than `min_words` words aren't scored. Rows
    without a picture aren't either.

    Source: thresholding as LAION and VILA do; VILA keeps the best fifth of each shard of COYO.
    """

    name: ClassVar = "clip_relevance"
    version: ClassVar = 1
    reads: ClassVar = columns("messages", "images")
    writes: ClassVar = (column("clip_relevance", pa.float32(), model="matcher"),)
    reasons: ClassVar = ("irrelevant",)

    matcher: Annotated[str, ModelRole("score")] = "matcher"
    """The model of pictures and texts."""
    min_relevance: Annotated[float, Decision(), Ge(-1), Le(1)] = 0.18
    """Least cosine; 0.18 suits CLIP ViT-L/14 and keeps nearly all true captions."""
    min_words: Annotated[int, Ge(1)] = 6
    """Words that the answers have to have together before they are scored."""
    batch_size: Annotated[int, Gt(0)] = 64
    """Rows embedded together."""

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """The similarity of each row, null where it isn't asked."""
        matcher: ScoreModel = run.model(self.matcher)
        texts = [" ".join(answers(row["messages"] or [])) for row in rows]
        pictures = [
            [p for p in (decode(image) for image in row["images"] or ()) if not isinstance(p, Fault)] for row in rows
        ]
        asked = [i for i, text in enumerate(texts) if pictures[i] and len(text.split()) >= self.min_words]
        out: list[Row] = [{"clip_relevance": None} for _ in rows]
        for start in range(0, len(asked), self.batch_size):
            batch = asked[start : start + self.batch_size]
            owners = [i for i in batch for _ in pictures[i]]
            seen = matcher.embed_images([picture for i in batch for picture in pictures[i]])
            said = matcher.embed_texts([texts[i] for i in batch])
            similar = cosine(seen, said[np.searchsorted(batch, owners)])
            for i, value in zip(owners, similar.tolist(), strict=True):
                best = out[i]["clip_relevance"]
                out[i]["clip_relevance"] = value if best is None else max(best, value)
        return out

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        value = row["clip_relevance"]
        return ("irrelevant",) if value is not None and np.float32(value) < np.float32(self.min_relevance) else ()
