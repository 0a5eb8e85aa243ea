"""Keeps one of every cluster of near duplicates, in text or in picture, over the whole dataset."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Gt, Le

from limbeck.duplicates import (
    PICTURE_BYTES,
    TEXT_BYTES,
    pair_clusters,
    picture_clusters,
    picture_signature,
    stacked,
    text_clusters,
    text_signature,
)
from limbeck.pictures import Fault, decode
from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Row, Run, settings
from limbeck.turns import text_of

_COMPARED = 2
"""Pictures of a row that are compared."""


@settings
class NearDuplicates(Filter):
    """Drops all but one of rows that say, or show, nearly the same.

    Texts are near when caption and instruction each share most of their character 4-grams, whatever their case and
    punctuation. Pictures are near when before and after each look alike, in a perceptual hash and in colours. Rows
    with one parent and the very same texts are samples of one edit: in text they count as one.

    Conversations are compared with `texts = ["messages"]`, `pictures = ["images"]` and `compare = "both"`: many questions
    may be asked of one picture, but not nearly the same one of nearly the same picture.

    What is left of a cluster is the row with the greatest `best_by`, or else the least id, so the order of rows
    changes nothing. It sees the whole dataset: what follows it waits for all parts.
    """

    name: ClassVar = "near_duplicates"
    version: ClassVar = 1
    reasons: ClassVar = ("duplicate_text", "duplicate_picture", "duplicate_pair")

    compare: Literal["text", "pictures", "either", "both"] = "either"
    """What makes a duplicate; `both` drops rows only where texts and pictures are near."""
    texts: tuple[str, str] | tuple[str] = ("original_prompt", "edit_prompt")
    """Text columns, one or two, of which each has to be near; of `messages` all that is said."""
    pictures: tuple[str, str] | tuple[str] = ("original_image", "edited_image")
    """Picture columns, one or two; of a column of several pictures, such as `images`, the first two are compared."""
    min_text: Annotated[float, Decision(), Gt(0), Le(1)] = 0.9
    """Least Jaccard similarity of texts; 1 is equal but for case and punctuation."""
    max_bits: Annotated[int, Decision(), Ge(0), Le(64)] = 3
    """Greatest difference of perceptual hashes, in bits of 64."""
    max_colour: Annotated[float, Decision(), Ge(0), Le(1)] = 0.03
    """Greatest mean difference of colours, in [0, 1]."""
    best_by: Annotated[str | None, Decision()] = None
    """Score column; the row with the greatest stays."""

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """Captions, instructions and pictures, as far as they are compared."""
        texts = columns(*self.texts) if self.compare != "pictures" else ()
        return texts if self.compare == "text" else (*texts, *columns(*self.pictures))

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        """Signatures; null for what can't be compared: a row without caption, a picture that can't be read."""
        made = {"text_signature": self.compare != "pictures", "picture_signature": self.compare != "text"}
        return tuple(column(name, pa.binary()) for name, wanted in made.items() if wanted)

    def decides_on(self) -> tuple[str, ...]:
        """Signatures, who is whose sample, and what is better."""
        own = tuple(field.name for field in self.writes)
        return (*own, "id", "parent_id", *((self.best_by,) if self.best_by else ()))

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Signatures of each row."""
        make = {"text_signature": self._texts, "picture_signature": self._pictures}
        return [{field.name: make[field.name](row) for field in self.writes} for row in rows]

    def _texts(self, row: Row) -> bytes | None:
        texts = [_said(row[name]) for name in self.texts]
        return text_signature(texts) if all(texts) else None

    def _pictures(self, row: Row) -> bytes | None:
        given = [
            p
            for value in (row[name] for name in self.pictures)
            for p in (value if isinstance(value, list) else [value])
        ]
        shown = [decode(picture) for picture in given[:_COMPARED]]
        if not shown or any(isinstance(picture, Fault) for picture in shown):
            return None
        signatures = [picture_signature(picture) for picture in shown]
        return b"".join(signatures * _COMPARED if len(signatures) == 1 else signatures)

    def decide_all(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Marks all but the best row of each cluster."""
        masks = {reason: np.zeros(len(columns["id"]), dtype=bool) for reason in self.reasons}
        if self.compare in ("text", "either"):
            rows, signatures = _present(columns["text_signature"], TEXT_BYTES)
            first, unit = _samples(columns["parent_id"][rows], signatures)
            labels = text_clusters(signatures[first], len(self.texts), self.min_text)[unit]
            masks["duplicate_text"][rows] = self._worse(labels, unit, rows, columns)
        if self.compare in ("pictures", "either"):
            left = np.where(masks["duplicate_text"], None, columns["picture_signature"])  # a dropped row is no better
            rows, signatures = _present(left, _COMPARED * PICTURE_BYTES)
            labels = picture_clusters(signatures, self.max_bits, self.max_colour)
            masks["duplicate_picture"][rows] = self._worse(labels, np.arange(len(rows)), rows, columns)
        if self.compare == "both":
            both = [t is not None and p is not None
                    for t, p in zip(columns["text_signature"], columns["picture_signature"], strict=True)]  # fmt: skip
            rows = np.flatnonzero(both)
            texts = stacked(columns["text_signature"][rows], TEXT_BYTES)
            pictures = stacked(columns["picture_signature"][rows], _COMPARED * PICTURE_BYTES)
            labels = pair_clusters(texts, pictures, len(self.texts), self.min_text, self.max_bits, self.max_colour)
            masks["duplicate_pair"][rows] = self._worse(labels, np.arange(len(rows)), rows, columns)
        return masks

    def _worse(
        self, labels: np.ndarray, unit: np.ndarray, rows: np.ndarray, columns: dict[str, np.ndarray]
    ) -> np.ndarray:
        """Which rows belong to a unit that isn't the best of its cluster.

        Args:
            labels: (n,) cluster of each row.
            unit: (n,) what is kept or dropped as one; rows of one unit have one label.
            rows: (n,) places of the rows in the columns.
            columns: of the whole dataset.
        """
        units = np.full(labels.max(initial=-1) + 1, -1)
        units[labels] = unit
        mixed = np.zeros(len(units), dtype=bool)  # clusters of several units: only their rows need an order
        mixed[labels[units[labels] != unit]] = True
        at = np.flatnonzero(mixed[labels])
        order = at[np.argsort(columns["id"][rows[at]].astype(str), kind="stable")]
        if self.best_by:
            values = np.nan_to_num(columns[self.best_by][rows[order]].astype(np.float64), nan=-np.inf)
            order = order[np.argsort(-values, kind="stable")]
        worse = np.zeros(len(rows), dtype=bool)
        if len(order):
            clusters, first = np.unique(labels[order], return_index=True)
            best = np.full(len(units), -1)
            best[clusters] = unit[order[first]]
            worse[order] = best[labels[order]] != unit[order]
        return worse


def _said(value: Any) -> str:
    """A text, or all texts of a conversation."""
    return " ".join(text_of(message) for message in value) if isinstance(value, list) else value or ""


def _present(signatures: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that have a signature, and those as (n, length) uint8."""
    rows = np.flatnonzero([signature is not None for signature in signatures])
    return rows, stacked(signatures[rows], length)


def _samples(parents: np.ndarray, signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one parent with the very same texts are one unit: the first row of each, and each row's unit."""
    _, parent = np.unique(parents.astype(str), return_inverse=True)
    exact = np.ascontiguousarray(signatures[:, :8]).view(np.uint64)[:, 0]
    both = np.empty(len(parent), dtype=[("parent", np.int64), ("exact", np.uint64)])
    both["parent"], both["exact"] = parent, exact
    _, first, unit = np.unique(both, return_index=True, return_inverse=True)
    return first, unit
