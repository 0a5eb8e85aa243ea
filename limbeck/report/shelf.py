"""Takes single rows of a build from their parts, however many there are, and makes `Pair`s of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.frames import Frame
from limbeck.publish import part_frame
from limbeck.records import PROVENANCE
from limbeck.report.data import Pair
from limbeck.report.pixels import pictures
from limbeck.report.talk import TALK, talk_of
from limbeck.store import part_name, read_manifest
from limbeck.tally import reasons_of

if TYPE_CHECKING:
    from limbeck.built import Build

_OPEN_PARTS = 128
_TEXTS = ("edit_prompt", "original_prompt", "caption", "edited_prompt", "edit_type", "subset", "split")
_PICTURES = ("original_image", "edited_image", "preview", "images")


class Shelf:
    """The rows at the end of a build's line."""

    def __init__(self, build: Build, scores: Sequence[str]) -> None:
        """`scores` are the columns that stand beside each pair."""
        self._build, self._scores = build, tuple(scores)
        self._level = build.outcome.last
        self._frames: dict[int, Frame] = {}

    @cached_property
    def _part_of(self) -> dict[str, int]:
        folder = self._build.folder(0)
        return {i: part for part in self._build.parts for i in (read_manifest(folder, part) or {}).get("ids", ())}

    def pairs(self, where: Sequence[int]) -> list[Pair]:
        """Pairs at these positions of the last level, in their order."""
        ids = self._level.frame.ids.take(pa.array(where, pa.int64())).to_pylist()
        by_part: dict[int, list[int]] = {}
        for i, row_id in enumerate(ids):
            by_part.setdefault(self._part_of[row_id.partition("/")[0]], []).append(i)
        rows: dict[int, dict[str, Any]] = {}
        for part, here in by_part.items():
            rows.update(zip(here, self._rows(part, [ids[i] for i in here]), strict=True))
        reasons = reasons_of(self._level, np.asarray(where, dtype=np.int64))
        return [
            self._pair(rows[i], position, why) for i, (position, why) in enumerate(zip(where, reasons, strict=True))
        ]

    def _frame(self, part: int) -> Frame:
        if part not in self._frames:
            if len(self._frames) >= _OPEN_PARTS:
                self._frames.clear()
            self._frames[part] = part_frame(self._build.recipe.stages, self._build.folder, part)
        return self._frames[part]

    def _rows(self, part: int, ids: Sequence[str]) -> list[dict[str, Any]]:
        stages, folder = self._build.recipe.stages, self._build.folder
        frame = self._frame(part)
        where = (
            pc.index_in(pa.array(ids, pa.string()), value_set=frame.ids).to_numpy(zero_copy_only=False).astype(np.int64)
        )
        names = [name for name in (*_TEXTS, *TALK, *self._scores, *PROVENANCE) if frame.field(name) is not None]
        rows = frame.rows(names, where)
        made_by = [0, *(i for i, table in enumerate(stages, 1) if not table.is_filter)]
        files = [folder(i) / f"{part_name(part)}.parquet" for i in made_by]
        for column in _PICTURES:
            for row, data in zip(rows, pictures(frame, files, column, where), strict=True):
                row[column] = data
        return rows

    def _pair(self, row: Mapping[str, Any], position: int, why: Sequence[str]) -> Pair:
        verdicts = self._level.verdicts
        ended_by = int(verdicts.ended_by[position])
        stage = self._build.recipe.stages[ended_by - 1].id if ended_by > 0 else ""
        return Pair(
            id=row["id"],
            verdict="kept" if ended_by < 0 else "failed" if verdicts.failed[position] else "dropped",
            instruction=row.get("edit_prompt") or "",
            caption_before=row.get("original_prompt") or row.get("caption") or "",
            caption_after=row.get("edited_prompt") or "",
            edit_type=row.get("edit_type") or row.get("question_type") or row.get("subset") or "",
            before=row["original_image"] or row["preview"],  # a clip's preview plays by itself
            after=row["edited_image"],
            scores={name: finite(row.get(name)) for name in self._scores},
            reasons=tuple(f"{stage}: {reason}" for reason in why),
            facts={name: row[name] for name in PROVENANCE if row.get(name) is not None},
            split=row.get("split") or "",
            talk=talk_of(row) if row.get("messages") else None,
        )


def finite(value: Any) -> float | None:
    """A number that can be shown, else None.

    >>> finite(1), finite(float("nan")), finite(None)
    (1.0, None, None)
    """
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
