"""How a VLM is judged: exact answers by type, POPE's measures, CHAIR of descriptions, and what a guesser would get."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.student import Answers, Scores
from distill.vlm.asking import HIDDEN, is_closed, wanted
from limbeck.questions.claims import ANYTHING, SKY, STRANGER, extract, verdict
from limbeck.questions.english import plural
from limbeck.questions.reading import values_in_order, yes_no
from limbeck.questions.scoring import is_right, pairs_right, value_of
from limbeck.questions.wording import LANGUAGES
from limbeck.storybook.scene import Scene
from limbeck.turns import answers as said_in
from limbeck.turns import text_of

Row = dict[str, Any]
_Kind = tuple[Any, ...]
"""What makes questions of one kind: language, template, form, and whether the answer is yes or no."""
_Answer = str | int
"""An answer as guesses count it: a number says which of the two things that a question names."""

_EXAMPLES = 3
"""Answers of each kind that a report shows."""


def scored(answers: Answers, rows: Sequence[Row], teacher: Answers | None = None) -> Scores:
    """Scores what a model said.

    Args:
        answers: `seen` (N,) of str; where they were asked, `blind`, `grey` and `shuffled` alike, and `nll` and
            `tokens` (N,), the negative log-likelihood of the rows' own answers and how many tokens those have.
        rows: what was asked.
        teacher: what the teacher said.
    """
    closed = [n for n, row in enumerate(rows) if is_closed(row)]
    own = [rows[n] for n in closed]
    readings = {how: [read(rows[n], answers[how][n]) for n in closed] for how in ("seen", *HIDDEN) if how in answers}
    seen = readings["seen"]
    right = [r.right for r in seen]
    items = {
        ("closed" if how == "seen" else how): _of_rows(len(rows), closed, [r.right for r in each])
        for how, each in readings.items()
    }
    items["unparsed"] = _of_rows(len(rows), closed, [r.value is None for r in seen])
    if teacher is not None:
        theirs = [read(rows[n], teacher["seen"][n]).value for n in closed]
        agreed = [a.value is not None and a.value == b for a, b in zip(seen, theirs, strict=True)]
        items["agreement"] = _of_rows(len(rows), closed, agreed)
    items = {name: each for name, each in items.items() if np.isfinite(each).any()}
    values = {name: float(np.nanmean(each)) for name, each in items.items()}
    if "nll" in answers:
        values["nll"] = float(answers["nll"].sum() / max(1, answers["tokens"].sum()))
    if pairs := pairs_right(own, right):
        values["pairs"] = sum(pairs.values()) / len(pairs)
    if asked := existence(own, [r.value for r in seen]):
        values |= {f"pope_{k}": v for k, v in asdict(asked["all"]).items() if k != "rows"}
    names = {box["name"] for row in rows for box in row.get("boxes") or () if box["name"]}
    describing = [n for n, row in enumerate(rows) if row["question_type"] == "description"]
    told = [described(rows[n], answers["seen"][n], names) for n in describing]
    descriptions = [each for each in told if each is not None]
    if any(each.words for each in descriptions):
        values |= chair(descriptions)
    more = {
        "rows": len(rows),
        "closed_rows": len(closed),
        "pairs": len(pairs),
        "descriptions": len(descriptions),
        "by_type": {name: {"rows": n, "right": k / n} for name, (n, k) in by_type(own, right).items()},
        "hidden_by_type": {
            how: {name: k / n for name, (n, k) in by_type(own, [r.right for r in each]).items()}
            for how, each in readings.items()
            if how != "seen"
        },
        "pope": {name: asdict(each) for name, each in asked.items()},
        "examples": [
            {"id": rows[n]["id"], "said": str(answers["seen"][n])}
            for n in (*closed[:_EXAMPLES], *describing[:_EXAMPLES])
        ],
    }
    return Scores(values, items, more=more)


def _of_rows(count: int, at: Sequence[int], values: Sequence[Any]) -> NDArray[np.float64]:
    """(count,) with values at some places, NaN elsewhere."""
    found = np.full(count, np.nan)
    found[list(at)] = np.array(values, np.float64)
    return found


@dataclass(frozen=True)
class Read:
    """A closed answer, read.

    Attributes:
        value: what it says; None where it says nothing that can be read.
        right: whether that is the row's answer.
    """

    value: Any
    right: bool


def read(row: Row, text: str) -> Read:
    """Reads an answer to a closed row: by its template, yes or no by their reader, and word for word what is neither.

    >>> from limbeck.turns import assistant, user
    >>> row = {"language": "en", "answer_type": "yes_no", "answer_value": "true", "messages": [user("Is there a cat?"), assistant("Yes")]}
    >>> read(row, "Yes, there is."), read(row, "A house.")
    (Read(value=True, right=True), Read(value=None, right=False))
    """
    if row.get("template") in LANGUAGES.get(row["language"], LANGUAGES["en"]).TEMPLATES:
        value = value_of(row, text)
        return Read(value, value is not None and is_right(row, value))
    if row["answer_type"] == "yes_no" and row["language"] in LANGUAGES and isinstance(wanted(row), bool):
        said = yes_no(text, row["language"], text_of(row["messages"][0]))
        return Read(said, said is wanted(row))
    folded = " ".join(text.lower().strip(" .").split())
    reference = " ".join(said_in(row["messages"])[0].lower().strip(" .").split())
    return Read(folded or None, folded == reference)


@dataclass(frozen=True)
class Pope:
    """Yes-or-no questions about existence; yes is positive.

    Attributes:
        rows: questions.
        accuracy: right answers; an answer that is neither is wrong.
        precision: of those that were answered with yes, the share that is so.
        recall: of those where yes is right, the share that was answered with yes.
        f1: their harmonic mean.
        yes: share of yes among all answers.
        unparsed: share of answers that are neither yes nor no.

    Source: Li et al. 2023, Evaluating Object Hallucination in Large Vision-Language Models (POPE), section 4.
    Differs: there an answer without "no" counts as yes; here what is neither is unparsed, and said so.
    """

    rows: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    yes: float
    unparsed: float


def pope(truth: Sequence[bool], said: Sequence[bool | None]) -> Pope:
    """POPE's measures.

    >>> pope([True, True, False, False], [True, None, True, False])
    Pope(rows=4, accuracy=0.5, precision=0.5, recall=0.5, f1=0.5, yes=0.5, unparsed=0.25)
    """
    pairs = list(zip(truth, said, strict=True))
    yes = sum(s is True for s in said)
    hits = sum(t and s is True for t, s in pairs)
    precision = hits / yes if yes else 0.0
    recall = hits / sum(truth) if any(truth) else 0.0
    n = max(1, len(pairs))
    return Pope(
        len(pairs),
        sum(s is not None and s == t for t, s in pairs) / n,
        precision,
        recall,
        2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        yes / n,
        sum(s is None for s in said) / n,
    )


@dataclass(frozen=True)
class Description:
    """What one description says.

    Attributes:
        mentions: kinds of things that it says are there, each once.
        invented: those of them that aren't.
        things: kinds that are there.
        told: those of them that it mentions.
        supported, contradicted: its claims that the picture bears out, and that it doesn't; of a storybook scene.
        words: its length.
    """

    mentions: int
    invented: int
    things: int
    told: int
    supported: int
    contradicted: int
    words: int


def described(row: Row, text: str, names: Iterable[str] = ()) -> Description | None:
    """Holds a description against its picture's scene, or against the names of its boxes; None where it has neither.

    Args:
        row: with `scenes`, or `boxes`.
        text: the description.
        names: of all things that a box may have, for rows without a scene.

    Source: Rohrbach et al. 2018, Object Hallucination in Image Captioning (CHAIR).
    Differs: mentions of a scene's things are claims (`limbeck.questions.claims`), so that "no cat" mentions none, and
    things that no storybook shows count as invented; a kind counts once. Names of boxes are found in the words, longest
    first, so that a hot dog is no dog.
    """
    if row.get("scenes"):
        world = Scene.from_json(row["scenes"][0])
        claims = extract(text, row["language"])
        mentioned = {
            c.kind
            for c in claims
            if c.about == "there" and not c.negated and not c.hedged and c.kind not in ("", ANYTHING, *SKY)
        }
        there = {thing.kind for thing in world.things}
        states = [verdict(claim, [world]) for claim in claims if not claim.kind.startswith(STRANGER)]
        found = states.count("supported"), states.count("contradicted")
    elif row.get("boxes"):
        there = {_plain(box["name"]) for box in row["boxes"] if box["name"]}
        mentioned = _named_in(text, frozenset({*map(_plain, names), *there} - {""}))
        found = 0, 0
    else:
        return None
    told = mentioned & there
    return Description(len(mentioned), len(mentioned - there), len(there), len(told), *found, len(text.split()))


def _named_in(text: str, names: frozenset[str]) -> set[str]:
    """The plain names that a text has, in the singular or the plural; words that one has taken no other gets.

    >>> sorted(_named_in("A hot dog, two buses, and people in T-shirts.", frozenset(["dog", "hot dog", "bus", "person", "t shirt"])))
    ['bus', 'hot dog', 'person', 't shirt']
    """
    if not names:
        return set()
    forms, pattern = _forms(names)
    return {forms[found] for found in pattern.findall(_plain(text))}


@lru_cache(maxsize=256)
def _forms(names: frozenset[str]) -> tuple[dict[str, str], re.Pattern[str]]:
    """Singular and plural of each name to the name, and a pattern that finds the longest of them."""
    forms = {plural(name): name for name in names} | {name: name for name in names}
    longest_first = sorted(forms, key=len, reverse=True)
    return forms, re.compile(rf"\b(?:{'|'.join(longest_first)})\b")


def _plain(text: str) -> str:
    """The words of a text in lower case with single spaces between them, without hyphens and other marks."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def chair(found: Sequence[Description]) -> dict[str, float]:
    """CHAIR over descriptions, with what it must be read beside: how much they tell, and how long they are.

    >>> one = Description(mentions=2, invented=1, things=2, told=1, supported=3, contradicted=1, words=12)
    >>> chair([one])["chair_i"], chair([one])["chair_s"], chair([one])["coverage"], chair([one])["claims_true"]
    (0.5, 1.0, 0.5, 0.75)
    """

    def ratio(a: str, *of: str) -> float:
        return sum(getattr(d, a) for d in found) / max(1, sum(getattr(d, b) for d in found for b in of))

    return {
        "chair_i": ratio("invented", "mentions"),
        "chair_s": sum(d.invented > 0 for d in found) / max(1, len(found)),
        "coverage": ratio("told", "things"),
        "claims_true": ratio("supported", "supported", "contradicted"),
        "description_words": sum(d.words for d in found) / max(1, len(found)),
    }


def guesses(known: Iterable[Row], rows: Sequence[Row]) -> list[str]:
    """What somebody who knows only how often each answer is right would say to each row.

    The commonest answer of the same kind of question (language, template, form) in `known`; of another template's in
    that form, where there was none. Of a choice it is the commonest letter; of a comparison of two things, whichever of
    those that the question names, the first or the second, is right more often.

    Args:
        known: closed rows whose answers were seen.
        rows: closed rows to guess.
    """
    counts: dict[_Kind, Counter[_Answer]] = {}
    texts: dict[tuple[_Kind, _Answer], str] = {}
    for row in filter(is_closed, known):
        answer, text = _counted(row), said_in(row["messages"])[0]
        for kind in _kinds(row):
            counts.setdefault(kind, Counter())[answer] += 1
            texts.setdefault((kind, answer), text)
    found = []
    for row in rows:
        kind = next((kind for kind in _kinds(row) if kind in counts), None)
        if kind is None:
            found.append("")
            continue
        answer = counts[kind].most_common(1)[0][0]
        compared = _compared(row)
        if isinstance(answer, int) and answer < len(compared):
            words = LANGUAGES[row["language"]].WORDS["kind"]
            found.append(words.get(compared[answer], compared[answer]))
        else:
            found.append(texts[kind, answer])
    return found


def _kinds(row: Row) -> tuple[_Kind, _Kind]:
    """The kind of question that a row is, and the wider one of all templates."""
    form = row["answer_type"], row["answer_value"] in ("true", "false")
    return (row["language"], row.get("template"), *form), (row["language"], *form)


def _counted(row: Row) -> _Answer:
    """A row's answer as it is counted: the letter of a choice, which of two compared things, or the value's JSON."""
    if row["answer_type"] == "choice":
        return said_in(row["messages"])[0]
    compared = _compared(row)
    return compared.index(wanted(row)) if wanted(row) in compared else row["answer_value"]


def _compared(row: Row) -> list[str]:
    """The two kinds that a comparison names, in order; nothing of other questions, and of choices, which have letters."""
    if row.get("template") not in ("comparison.further", "comparison.taller") or row["answer_type"] == "choice":
        return []
    return values_in_order(text_of(row["messages"][0]), "kind", row["language"])


def by_type(rows: Sequence[Row], right: Sequence[bool]) -> Mapping[str, tuple[int, int]]:
    """Question type to (rows, right ones)."""
    found: dict[str, tuple[int, int]] = {}
    for row, hit in zip(rows, right, strict=True):
        n, k = found.get(row["question_type"], (0, 0))
        found[row["question_type"]] = (n + 1, k + bool(hit))
    return dict(sorted(found.items()))


def existence(rows: Sequence[Row], values: Sequence[Any]) -> dict[str, Pope]:
    """POPE by how the absent things were chosen, and over all: existence questions with yes or no for an answer."""
    chosen: dict[str, tuple[list[bool], list[bool | None]]] = {}
    for row, value in zip(rows, values, strict=True):
        if row["question_type"] == "existence" and isinstance(wanted(row), bool):
            for name in ("all", str(row.get("template") or "").partition(".")[2]):
                truth, said = chosen.setdefault(name, ([], []))
                truth.append(wanted(row))
                said.append(value if isinstance(value, bool) else None)
    return {name: pope(truth, said) for name, (truth, said) in sorted(chosen.items()) if name}
