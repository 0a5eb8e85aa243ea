"""Decides over score columns: pure, without a model, the same while a part is computed and when a build is refiltered.

A million rows are decided in seconds where a filter has `decide_columns`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.errors import ContractError
from limbeck.frames import Frame
from limbeck.schema import StageTable
from limbeck.stage import Filter, Reasons, Row, Stage, decision_form, settings_of

PART_LOCAL_GROUPS = ("parent_id", "source_id", "id")
"""Groups whose rows lie in one part."""
ERROR = "error:"
"""How the reason of a failed row starts."""
UNSCORED = "unscored"
"""A row that a costly filter hasn't seen, because stricter thresholds dropped it before; a run scores it."""


@dataclass
class Verdicts:
    """What became of a frame's rows.

    Attributes:
        alive: (N,) rows that no stage has ended.
        failed: (N,) rows that ended because a model failed.
        ended_by: (N,) index of the stage that ended the row, -1 while it is alive.
        reasons: reason to (N,) rows against which it was given by the stage that ended them.
    """

    alive: np.ndarray
    failed: np.ndarray
    ended_by: np.ndarray
    reasons: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, alive: np.ndarray) -> Verdicts:
        """Before any stage: rows that aren't alive count nowhere."""
        return cls(alive.copy(), np.zeros(len(alive), bool), np.full(len(alive), -1, np.int16))

    def end(self, stage: int, reason: str, rows: np.ndarray, *, failed: bool = False) -> None:
        """Ends rows (a mask) for a reason; rows may have several reasons from one stage."""
        rows = rows & (self.alive | (self.ended_by == stage))
        if not rows.any():
            return
        self.reasons.setdefault(reason, np.zeros(len(self.alive), bool))[rows] = True
        self.ended_by[rows] = stage
        self.alive &= ~rows
        self.failed |= rows & failed


def is_global(stage: Stage) -> bool:
    """Whether a decision needs rows of more than one part."""
    if not isinstance(stage, Filter):
        return False
    form = decision_form(stage)
    return form == "all" or (form == "group" and stage.group_by not in PART_LOCAL_GROUPS)


def settle(
    table: StageTable, index: int, frame: Frame, verdicts: Verdicts, scored: pa.Table | None, *, decides: bool = True
) -> None:
    """Adds a filter's scores to the frame and ends the rows that it drops.

    Args:
        table: the filter.
        index: its place in the recipe.
        frame: the rows.
        verdicts: of earlier filters; changed.
        scored: the filter's stored rows, in any order; None for one that scores nothing.
        decides: False leaves the decision for later and ends only rows that have no scores.
    """
    if scored is not None:
        ids = scored["id"].combine_chunks()
        same = len(ids) == len(frame) and ids.equals(frame.ids)
        place = None if same else pc.index_in(frame.ids, value_set=ids)
        for field_ in scored.schema:
            if field_.name not in ("id", "reason", "detail"):
                frame.add(field_, scored[field_.name] if same else scored[field_.name].take(place))
        reason = scored["reason"] if same else scored["reason"].take(place)
        for given in pc.drop_null(pc.unique(reason)).to_pylist():
            mask = pc.fill_null(pc.equal(reason, given), False).to_numpy()
            verdicts.end(index, given, mask, failed=given.startswith(ERROR))
        if not same:
            verdicts.end(index, UNSCORED, pc.is_null(place).to_numpy(zero_copy_only=False))
    if decides:
        decide(table, index, frame, verdicts)


def decide(table: StageTable, index: int, frame: Frame, verdicts: Verdicts) -> None:
    """Applies one filter's decision to the rows still alive.

    Args:
        table: the filter.
        index: its place in the recipe, noted in `verdicts`.
        frame: the rows with all score columns that the decision reads.
        verdicts: what earlier filters decided; changed.

    Raises:
        ContractError: the filter gives a reason that it doesn't declare, or masks of another length.
    """
    where = np.flatnonzero(verdicts.alive)
    if not len(where):
        return
    form = decision_form(table.stage)
    if form == "all":
        columns = _columns(table, table.stage, frame, where, with_ids=True)
        _apply_masks(table, index, table.stage.decide_all(columns), where, verdicts)
    elif form == "group":
        _decide_groups(table, index, frame, where, verdicts)
    else:
        for stage, rows in _variants(table, frame, where):
            if hasattr(stage, "decide_columns"):
                masks = stage.decide_columns(_columns(table, stage, frame, rows))
                _apply_masks(table, index, masks, rows, verdicts)
            else:
                found = [stage.decide(row) for row in _rows(table, stage, frame, rows)]
                _apply_reasons(table, index, found, rows, verdicts)


def _decide_groups(table: StageTable, index: int, frame: Frame, where: np.ndarray, verdicts: Verdicts) -> None:
    groups = frame.column(table.stage.group_by).take(where).to_pylist()
    members: defaultdict[object, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[i if group is None else group].append(i)  # a row without a group is alone
    rows = _rows(table, table.stage, frame, where)
    variant_of = np.zeros(len(where), np.int64)
    variants = []
    for n, (stage, positions) in enumerate(_variants(table, frame, where)):
        variants.append(stage)
        variant_of[np.searchsorted(where, positions)] = n
    found: list[Reasons] = [()] * len(where)
    for group in members.values():
        reasons = variants[variant_of[group[0]]].decide_group([rows[i] for i in group])
        if len(reasons) != len(group):
            raise ContractError(f"{table.id}.decide_group gave {len(reasons)} results for {len(group)} siblings")
        for i, reason in zip(group, reasons, strict=True):
            found[i] = reason
    _apply_reasons(table, index, found, where, verdicts)


def _variants(table: StageTable, frame: Frame, where: np.ndarray) -> Iterator[tuple[Filter, np.ndarray]]:
    """The filter with the thresholds that apply, and the positions of the rows for which they do."""
    if not table.by:
        yield table.stage, where
        return
    which = np.zeros(len(where), np.int64)
    changes: list[dict] = [{}]
    base = settings_of(table.stage)
    for column, values in table.by.items():
        found = np.asarray(frame.column(column).take(where).to_pylist(), dtype=object).astype(str)
        for value, stage in values.items():
            matching = found == value
            own = {key: new for key, new in settings_of(stage).items() if new != base[key]}
            for old in np.unique(which[matching]):
                changes.append({**changes[old], **own})
                which[matching & (which == old)] = len(changes) - 1
    for n in np.unique(which):
        stage = type(table.stage)(**{**base, **changes[n]}) if changes[n] else table.stage
        yield stage, where[which == n]


def _names(table: StageTable, stage: Filter, frame: Frame) -> dict[str, str]:
    """The names by which a decision knows its columns, to the names they are stored under."""
    own = {f.name for f in stage.writes}
    there = (name for name in stage.decides_if_there() if frame.field(name) is not None)
    return {name: table.stored_name(name) if name in own else name for name in (*stage.decides_on(), *there)}


def _columns(
    table: StageTable, stage: Filter, frame: Frame, where: np.ndarray, with_ids: bool = False
) -> dict[str, np.ndarray]:
    names = _names(table, stage, frame) | ({"id": "id"} if with_ids else {})
    everything = len(where) == len(frame)
    return {name: frame.array(stored) if everything else frame.array(stored)[where] for name, stored in names.items()}


def _rows(table: StageTable, stage: Filter, frame: Frame, where: np.ndarray) -> list[Row]:
    names = _names(table, stage, frame)
    rows = frame.rows(list(names.values()), where)
    renamed = [(name, stored) for name, stored in names.items() if name != stored]
    for row in rows if renamed else ():
        for name, stored in renamed:
            row[name] = row.pop(stored)
    return rows


def _apply_masks(
    table: StageTable, index: int, masks: dict[str, np.ndarray], where: np.ndarray, verdicts: Verdicts
) -> None:
    for reason in _in_order(table, masks):
        mask = np.asarray(masks[reason], dtype=bool)
        if mask.shape != where.shape:
            raise ContractError(f"{table.id}: the mask of {reason!r} has shape {mask.shape}; expected {where.shape}")
        whole = np.zeros(len(verdicts.alive), bool)
        whole[where[mask]] = True
        verdicts.end(index, reason, whole)


def _apply_reasons(table: StageTable, index: int, found: list[Reasons], where: np.ndarray, verdicts: Verdicts) -> None:
    masks: dict[str, np.ndarray] = {}
    for i, reasons in enumerate(found):
        for reason in reasons:
            masks.setdefault(reason, np.zeros(len(found), bool))[i] = True
    _apply_masks(table, index, masks, where, verdicts)


def _in_order(table: StageTable, masks: dict[str, np.ndarray]) -> list[str]:
    declared = table.stage.reasons
    if unknown := masks.keys() - set(declared):
        raise ContractError(f"{table.id} gives the reason {min(unknown)!r}, which isn't among its `reasons`")
    return [reason for reason in declared if reason in masks]
