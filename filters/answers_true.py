"""Keeps answers that the pictures bear out: closed ones computed anew from pixels, open ones claim by claim."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from limbeck.marks import MAX_RADIUS, MIN_RADIUS_PX, Mark, disc
from limbeck.pictures import Fault, decode
from limbeck.questions.claims import Claim, State, checked
from limbeck.questions.reading import NOTHING, coordinates, number, read, values_in, values_said, yes_no
from limbeck.questions.seen import Seen, Unreadable, agrees, look
from limbeck.questions.view import is_told, label_map
from limbeck.questions.wording import LANGUAGES
from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Reasons, Row, Run, settings
from limbeck.storybook import Scene, render
from limbeck.turns import answers, text_of

_DIFFERS_BY, _DIFFERS_IN = 24, 0.02
"""A pixel differs by more levels than any re-encoding leaves; a picture differs in more than this share of them."""
_STRAY = 0.007
"""Share of dark pixels that a painted pastel picture may have. Plain ones have 1.2% at least; `mini:diffusion` left 0.42% of
one, and 0.02% or none of the others."""
_LEAST_PX = 16
"""The storybook draws nothing smaller."""
_FAULTS = (
    "picture_differs", "unreadable", "value_wrong", "answer_wrong", "answer_unreadable", "question_differs", "claim_wrong",
)  # fmt: skip


@settings
class AnswersTrue(Filter):
    """Drops rows with an answer that isn't true of the picture.

    A closed answer has a program. It is run by a second implementation that reads the stored pixels and the rendered
    labels, and knows no scene; the stored value and the answer's words both have to agree with what it finds, the
    question has to name what the program asks about, and every further claim of a sentence has to hold. An open
    answer is taken apart into claims; a claim that the picture contradicts drops the row.

    The picture has to be the one that its scene draws: a row with somebody else's picture goes (`picture_differs`).
    Of a scene that words alone tell (edit pairs; its JSON says no variation) nobody knows the picture pixel by pixel.
    There time, weather, ground and style are read from the stored pixels, and each thing's colour where the words put
    it; all of them have to be as told. Which things there are, how big and where is believed of the words.
    Rows about pictures whose truth isn't known (no `scenes`) are unchecked; `verdicts` says so turn by turn.

    Reasons: `picture_differs`; `unreadable` (no one answer in the pixels); `value_wrong`; `answer_wrong`,
    `answer_unreadable` (the words say another value, or none); `question_differs`; `claim_wrong`; `few_supported`;
    `unchecked`.
    """

    name: ClassVar = "answers_true"
    version: ClassVar = 4
    reads: ClassVar = columns("messages", "images", "language", "scenes")
    reads_if_there: ClassVar = columns("program", "answer_value", "answer_type", "template", "options", "marks")
    writes: ClassVar = (
        *columns("verdicts"),
        column("fault", pa.string()),  # what is wrong, as a reason
        column("detail", pa.string()),  # the same for a person
        column("claims", pa.int32()),
        column("supported", pa.float32()),  # share of the claims that the picture bears out
        column("checked", pa.bool_()),
    )
    reasons: ClassVar = (*_FAULTS, "few_supported", "unchecked")

    min_supported: Annotated[float, Decision(), Ge(0), Le(1)] = 0.0
    """Least share of a checked row's claims that the picture bears out; claims that can't be decided don't count as such."""
    keep_unchecked: Annotated[bool, Decision()] = True
    """Whether rows that nothing could be checked of stay."""

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """Checks every turn of every row."""
        looking = _Looking()
        return [self._check(row, looking) for row in rows]

    def _check(self, row: Row, looking: _Looking) -> Row:
        said = answers(row["messages"] or [])
        if not row.get("scenes"):
            return _outcome([("unchecked", "no scene")] * len(said), None, "", [], False)
        seens = looking.at(row)
        if isinstance(seens, str):
            return _outcome([("wrong", seens)] * len(said), "picture_differs", seens, [], True)
        try:
            if row.get("program"):
                return self._closed(row, said[0] if said else "", seens)
            turns = [checked(text, row["language"], seens) for text in said]
        except Unreadable as error:
            return _outcome([("wrong", str(error))] * len(said), "unreadable", str(error), [], True)
        verdicts, wrong = [], ""
        for claims in turns:
            bad = [str(claim) for claim, state in claims if state == "contradicted"]
            wrong = wrong or "; ".join(bad)
            good = any(state == "supported" for _, state in claims)
            verdicts.append(("wrong", "; ".join(bad)) if bad else ("right", "") if good else ("unchecked", ""))
        flat = [pair for claims in turns for pair in claims]
        return _outcome(verdicts, "claim_wrong" if wrong else None, wrong, flat, bool(flat))

    def _closed(self, row: Row, text: str, seens: list[Seen]) -> Row:
        program, value = json.loads(row["program"]), json.loads(row["answer_value"])
        claims: list[tuple[Claim, State]] = []
        fault, detail = _closed_fault(row, text, program, value, seens)
        if fault is None and row["answer_type"] == "sentence":
            claims = checked(text, row["language"], seens)
            wrong = [str(claim) for claim, state in claims if state == "contradicted"]
            fault, detail = ("claim_wrong", "; ".join(wrong)) if wrong else (None, "")
        return _outcome([("wrong" if fault else "right", detail)], fault, detail, claims, True)

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        if row["fault"]:
            return (row["fault"],)
        if not row["checked"]:
            return () if self.keep_unchecked else ("unchecked",)
        low = row["supported"] is not None and row["supported"] < np.float32(self.min_supported)
        return ("few_supported",) if low else ()


def _closed_fault(row: Row, text: str, program: Any, value: Any, seens: list[Seen]) -> tuple[str | None, str]:
    """What is wrong with a closed answer's value, words or question."""
    if not agrees(program, value, seens):
        return "value_wrong", f"{value!r} is stored; the picture shows {_plain(look(program, seens))!r}"
    language, category = row["language"], _category(row, value)
    question = text_of(row["messages"][0])
    if row["answer_type"] == "sentence":
        says = _sentence_says(text, value, category, language, question)
        if says is not None and category in ("box", "point"):
            says = says and agrees(program, coordinates(text, len(value)), seens)
    else:
        heard = read(text, row["answer_type"], category, language, row.get("options") or (), question)
        heard = None if heard == NOTHING and value is None else heard
        says = None if heard is None and value is not None else agrees(program, heard, seens)
    if says is None:
        return "answer_unreadable", text[:100]
    if not says:
        return "answer_wrong", f"{text[:100]!r} where {value!r} is right"
    question = question.split("\n")[0]
    for name, constants in (("kind", "kind"), ("colour", "colour")):
        asked, named = _constants(program, constants), values_in(question, name, language)
        if asked != named:
            return "question_differs", f"the question names {sorted(named)}, the program {sorted(asked)}"
    return None, ""


def _sentence_says(text: str, value: Any, category: str, language: str, question: str) -> bool | None:
    """Whether a sentence says a value; None where it says none."""
    if category == "yes_no":
        said = yes_no(text, language, question)
        return None if said is None else said == value
    if value is None:
        return read(text, "sentence", category, language) == NOTHING or yes_no(text, language) is False
    if category in ("box", "point"):
        return coordinates(text, len(value)) is not None or None
    if category in ("number", "mark"):
        if language == "ko" and category == "mark":
            found = re.search(r"(\d+)번", text)
            return None if found is None else int(found[1]) == value
        said = number(text, language)
        return None if said is None else said == value
    named = values_said(text, category, language)
    return value in named if named else None


def _category(row: Row, value: Any) -> str:
    if isinstance(value, bool):
        return "yes_no"
    template = row.get("template") or ""
    return LANGUAGES[row["language"]].TEMPLATES[template].answer


def _constants(program: Any, field: str) -> set[str]:
    """Values of a field that a program names: `["only", ..., field, v]`, and what it compares or chooses."""
    from limbeck.questions.reading import VALUES

    found: set[str] = set()
    if isinstance(program, list):
        for part in program:
            if isinstance(part, list):
                found |= _constants(part, field)
            elif isinstance(part, str) and part in VALUES[field]:
                found.add(part)
    return found


def _plain(found: Any) -> Any:
    return getattr(found, "kind", found)


def _outcome(
    verdicts: Sequence[tuple[str, str]],
    fault: str | None,
    detail: str,
    claims: list[tuple[Claim, State]],
    was_checked: bool,
) -> Row:
    decided = [state for _, state in claims if state != "unchecked"]
    return {
        "verdicts": [{"turn": i, "verdict": v, "detail": d} for i, (v, d) in enumerate(verdicts)],
        "fault": fault,
        "detail": detail or None,
        "claims": len(claims),
        "supported": decided.count("supported") / len(claims) if claims else None,
        "checked": was_checked,
    }


class _Looking:
    """Pictures as seen; those of one scene come one after the other and are looked at once."""

    def __init__(self) -> None:
        self._seen: dict[tuple, Seen | str] = {}

    def at(self, row: Row) -> list[Seen] | str:
        """Every picture of a row, or what is wrong with one."""
        images = row.get("images") or []
        if images and len(images) != len(row["scenes"]):
            return f"{len(images)} pictures of {len(row['scenes'])} scenes"
        out = []
        for i, scene in enumerate(row["scenes"]):
            marks = [mark for mark in row.get("marks") or [] if mark["image"] == i]
            key = (scene, images[i] if images else b"", i, tuple((m["number"], m["x"], m["y"]) for m in marks))
            if key not in self._seen:
                if len(self._seen) > 64:
                    self._seen.clear()
                self._seen[key] = _look_at(scene, images[i] if images else None, marks, i)
            if isinstance(self._seen[key], str):
                return self._seen[key]
            out.append(self._seen[key])
        return out


def _look_at(scene_json: str, stored: bytes | None, marks: list[Row], number: int) -> Seen | str:
    scene = Scene.from_json(scene_json)
    where = {mark["number"]: (mark["x"], mark["y"]) for mark in marks}
    if stored is None:
        picture = render(scene)
        return Seen(picture.image, label_map(scene, picture), where, number)
    picture_or_fault = decode(stored)
    if isinstance(picture_or_fault, Fault):
        return f"picture {number}: {picture_or_fault.reason}"
    pixels = np.asarray(picture_or_fault)
    height, width = pixels.shape[:2]
    if height != width or width < _LEAST_PX:
        return f"picture {number} is {width} x {height} px; the storybook's are square, of {_LEAST_PX} px or more"
    drawn = render(scene, width)
    if is_told(scene_json):
        seen = Seen(pixels, label_map(scene, drawn), where, number, stray=_STRAY)
        return _unlike(seen, scene) or seen
    differs = np.abs(pixels.astype(np.int16) - drawn.image).max(-1) > _DIFFERS_BY
    hidden = np.zeros_like(differs)
    for mark in marks:
        hidden[
            disc(
                Mark(mark["number"], 0, mark["x"], mark["y"], max(MAX_RADIUS * width, MIN_RADIUS_PX) + 1), height, width
            )
        ] = True
    differs &= ~hidden
    if differs.mean() > _DIFFERS_IN:
        return f"picture {number} differs from its scene in {differs.mean():.0%} of its pixels"
    return Seen(pixels, label_map(scene, drawn), where, number, hidden)


def _unlike(seen: Seen, scene: Scene) -> str:
    """What a picture shows otherwise than the words that tell its scene; "" where all that can be read is as told."""
    for name in ("style", "time", "weather", "ground"):
        if getattr(seen, name) != getattr(scene, name):
            return (
                f"picture {seen.picture} shows {name} {getattr(seen, name)!r}; its words say {getattr(scene, name)!r}"
            )
    try:
        colours = {patch.kind: patch.colour for patch in seen.patches}
    except Unreadable as error:
        return f"picture {seen.picture}: {error} where its words put a thing"
    for thing in scene.things:
        if (found := colours.get(thing.kind, thing.colour)) != thing.colour:
            return f"picture {seen.picture} shows {found} where its words put a {thing.colour} {thing.kind}"
    return ""
