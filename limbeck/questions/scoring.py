"""How many answers of a model are right: read by the rules of `reading`, minimal pairs as pairs, the unparsed counted.

    score = scored(rows, [model(row) for row in rows])
    score.share, score.unparsed, score.pairs, score.by_type

Rows are canonical closed ones: with `answer_value`, `answer_type`, `template`, `language`, and `pair_id` where they are
half of a pair.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limbeck.questions.program import overlap
from limbeck.questions.reading import NOTHING, VALUES, read, read_of_a_thing, values_in, values_said
from limbeck.questions.wording import LANGUAGES
from limbeck.stage import Row
from limbeck.turns import text_of

OVERLAP = 0.5
"""Least intersection over union of a right box."""
REACH = 0.1
"""Greatest distance of a right point from the stored one, as a share of the picture; `answers_true` looks at its mask."""


@dataclass(frozen=True)
class Score:
    """What a model got right.

    Attributes:
        rows, right: answers, and the right ones.
        unread: answers that say no value; they count as wrong.
        pairs, pairs_right: minimal pairs of which both rows are there, and those of which both answers are right.
        yes_no, yes_said: questions whose answer is yes or no, and those that the model said yes to.
        by_type: question type to (rows, right).
    """

    rows: int
    right: int
    unread: int
    pairs: int
    pairs_right: int
    yes_no: int
    yes_said: int
    by_type: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the right answers."""
        return self.right / self.rows if self.rows else 0.0

    @property
    def pair_share(self) -> float:
        """Share of the pairs that are right as pairs."""
        return self.pairs_right / self.pairs if self.pairs else 0.0

    @property
    def yes_share(self) -> float:
        """Share of yes among the answers to yes-or-no questions."""
        return self.yes_said / self.yes_no if self.yes_no else 0.0


def scored(rows: Sequence[Row], said: Sequence[str]) -> Score:
    """Scores a model's answers to closed questions.

    Args:
        rows: the questions.
        said: the answers, in the same order.
    """
    values = [value_of(row, text) for row, text in zip(rows, said, strict=True)]
    right = [is_right(row, value) for row, value in zip(rows, values, strict=True)]
    by_type: dict[str, list[bool]] = defaultdict(list)
    for row, hit in zip(rows, right, strict=True):
        by_type[row["question_type"]].append(hit)
    pairs = pairs_right(rows, right)
    yes_no = [value for row, value in zip(rows, values, strict=True) if row["answer_value"] in ("true", "false")]
    return Score(
        len(rows), sum(right), values.count(None), len(pairs), sum(pairs.values()), len(yes_no), yes_no.count(True),
        {name: (len(hits), sum(hits)) for name, hits in sorted(by_type.items())},
    )  # fmt: skip


def value_of(row: Row, text: str) -> Any:
    """What a text says in answer to a row's question; None where it says nothing that can be read.

    >>> row = {"answer_value": "true", "answer_type": "yes_no", "template": "place.is", "question_type": "place", "language": "en"}
    >>> value_of(row, "No, it isn't."), value_of(row, "Hm.")
    (False, None)
    """
    language, kind = row["language"], row["answer_type"]
    question = text_of(row["messages"][0]) if row.get("messages") else ""
    if row["answer_value"] in ("true", "false"):
        return read(text, kind, "yes_no", language, row.get("options") or (), question)
    category = LANGUAGES[language].TEMPLATES[row["template"]].answer
    if row["question_type"] == "false_premise" and kind != "choice":
        return read_of_a_thing(text, category, language, question)
    found = read(text, kind, category, language, row.get("options") or ())
    if found is None and kind != "choice" and category in VALUES:
        asked = values_in(question, category, language)
        said = values_said(text, category, language) - asked  # "to the left of the ball is a cat" answers with a cat
        return said.pop() if len(said) == 1 else None
    return found


def is_right(row: Row, value: Any) -> bool:
    """Whether a value is the row's answer: a box by its overlap, a point by its distance, all else exactly.

    >>> is_right({"answer_value": "[0.2, 0.2, 0.4, 0.4]", "answer_type": "box"}, [0.2, 0.2, 0.4, 0.35])
    True
    """
    wanted = json.loads(row["answer_value"])
    if wanted is None:
        return value == NOTHING
    if isinstance(wanted, list) and isinstance(value, list) and len(wanted) == len(value):
        if len(wanted) == 4:
            return overlap(wanted, value) >= OVERLAP
        return sum((a - b) ** 2 for a, b in zip(wanted, value, strict=True)) <= REACH**2
    return type(value) is type(wanted) and value == wanted


def pairs_right(rows: Sequence[Row], right: Sequence[bool]) -> dict[str, bool]:
    """Minimal pairs, and whether all of a pair's answers are right; half a pair, whose other row a filter took, is none.

    >>> pairs_right([{"pair_id": "a"}, {"pair_id": "a"}, {"pair_id": None}, {"pair_id": "b"}], [True, False, True, True])
    {'a': False}
    """
    found: dict[str, list[bool]] = defaultdict(list)
    for row, hit in zip(rows, right, strict=True):
        if row.get("pair_id"):
            found[row["pair_id"]].append(hit)
    return {name: all(hits) for name, hits in found.items() if len(hits) > 1}
