"""Errors put into true answers on purpose, by rules of their own: nothing here imports what checks answers.

Each rule takes a row and a random generator, and gives the row with one thing made false, or None where it doesn't
apply. Words are this file's own: what it does not share with a checker, it can't be blind to with it. `inject` tries
rules in random order; `limbeck calibrate` measures filters with it.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
COLOURS = {
    "en": ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown"],
    "ko": ["빨간색", "주황색", "노란색", "초록색", "파란색", "보라색", "분홍색", "갈색"],
}
KINDS = {
    "en": ["ball", "house", "tree", "car", "boat", "flower", "mushroom", "cat"],
    "ko": ["공", "집", "나무", "자동차", "배", "꽃", "버섯", "고양이"],
}
CODES = KINDS["en"]
HUES = {"빨간": 0, "노란": 2, "파란": 4}


def say(row: Row, text: str) -> Row:
    """The row with another last answer."""
    out = copy.deepcopy(row)
    out["messages"][-1]["content"] = [{"type": "text", "text": text, "image": None}]
    return out


def said(row: Row) -> str:
    """The last answer."""
    return row["messages"][-1]["content"][0]["text"]


def things(row: Row) -> list[dict[str, Any]]:
    """What the row's scenes show."""
    return [thing for scene in row["scenes"] for thing in json.loads(scene)["things"]]


def flip_yes_no(row: Row, rng: random.Random) -> Row | None:
    """The opposite answer."""
    text = said(row)
    for yes, no in (("Yes", "No"), ("네", "아니요")):
        for a, b in ((yes, no), (no, yes)):
            if re.match(rf"{a}(\W|$)", text):
                return say(row, b + text[len(a) :])
    return None


def other_colour(row: Row, rng: random.Random) -> Row | None:
    """A colour that no thing of the picture has, in the place of one that is named."""
    words = COLOURS[row["language"]]
    used = {COLOURS["en"].index(thing["colour"]) for thing in things(row)}
    asked = " ".join(part["text"] or "" for part in row["messages"][0]["content"])
    free = [i for i in range(8) if i not in used and words[i] not in asked]
    text = said(row)
    named = [w for w in words if re.search(rf"(?<![A-Za-z가-힣]){w}", text, re.I)] + [
        h for h in HUES if f"{h} " in text
    ]
    named = [w for w in named if w not in asked and w.rstrip("색") not in asked]
    if not named or not free or row["answer_type"] == "choice":
        return None
    old, new = rng.choice(named), words[rng.choice(free)]
    return say(
        row, re.sub(old, new.capitalize() if text.startswith(old.capitalize()) else new, text, count=1, flags=re.I)
    )


def other_kind(row: Row, rng: random.Random) -> Row | None:
    """A thing that isn't there, in the place of one that is."""
    text, language = said(row), row["language"]
    present = {CODES.index(thing["kind"]) for thing in things(row)}
    absent = [i for i in range(8) if i not in present]
    if language == "en":
        named = [i for i in present if re.search(rf"\b{KINDS['en'][i]}\b", text, re.I)]
        if not named or re.match(r"(No|I see no|There is no|Nowhere)", text) or row["answer_type"] == "choice":
            return None
        return say(
            row,
            re.sub(
                rf"\b{KINDS['en'][rng.choice(named)]}\b", KINDS["en"][rng.choice(absent)], text, count=1, flags=re.I
            ),
        )
    named = [i for i in present if text.rstrip(".") in (KINDS["ko"][i], KINDS["ko"][i] + "입니다")]
    return say(row, text.replace(KINDS["ko"][named[0]], KINDS["ko"][rng.choice(absent)], 1)) if named else None


def other_place(row: Row, rng: random.Random) -> Row | None:
    """Left for right, or the middle for the left."""
    text = said(row)
    for a, b in (("on the left", "on the right"), ("On the left", "On the right"), ("왼쪽", "오른쪽")):
        for old, new in ((a, b), (b, a)):
            if (
                old in text
                and row["answer_type"] != "choice"
                and not row["template"].startswith(("two", "relation.next"))
            ):
                return say(row, text.replace(old, new, 1))
    for old, new in (("in the middle", "on the left"), ("In the middle", "On the left"), ("가운데", "왼쪽")):
        if old in text and row["answer_type"] != "choice" and not row["template"].startswith("two"):
            return say(row, text.replace(old, new, 1))
    return None


def other_number(row: Row, rng: random.Random) -> Row | None:
    """One more or one less."""
    if row["answer_type"] == "number":
        return say(row, str(int(said(row)) + rng.choice((1, 2))))
    swaps = {
        "one": "two",
        "two": "three",
        "three": "one",
        "none": "two",
        "None": "Two",
        "One": "Three",
        "Two": "One",
        "Three": "Two",
    }
    if row["template"].startswith("count") and row["language"] == "en":
        return say(
            row, re.sub(r"\b(one|two|three|none|One|Two|Three|None)\b", lambda m: swaps[m[0]], said(row), count=1)
        )
    return None


def other_letter(row: Row, rng: random.Random) -> Row | None:
    """Another option."""
    if row["answer_type"] != "choice":
        return None
    letters = ("A", "B", "C", "D") if row["language"] == "en" else ("가", "나", "다", "라")
    wrong = [letter for letter in letters[: len(row["options"])] if letter != said(row)]
    return say(row, rng.choice(wrong))


def other_size(row: Row, rng: random.Random) -> Row | None:
    """Big for small."""
    if not row["template"].startswith("attribute") or row["answer_type"] == "choice":
        return None
    for a, b in (("big", "small"), ("Big", "Small"), ("큰", "작은"), ("큼", "작음")):
        for old, new in ((a, b), (b, a)):
            if old in said(row):
                return say(row, said(row).replace(old, new, 1))
    return None


def moved_box(row: Row, rng: random.Random) -> Row | None:
    """Coordinates a third of the picture away."""
    numbers = re.findall(r"\d\.\d+", said(row))
    if len(numbers) not in (2, 4):
        return None
    shift = 0.34 if float(numbers[0]) < 0.5 else -0.34
    text = said(row)
    for i, number in enumerate(numbers):
        if i % 2 == 0:
            text = text.replace(number, f"{float(number) + shift:.3f}", 1)
    return say(row, text)


def other_setting(row: Row, rng: random.Random) -> Row | None:
    """Another ground, time or weather."""
    if not row["template"].startswith("setting") or row["answer_type"] == "choice":
        return None
    for words in (("grass", "sand", "snow", "water"), ("night", "sunset", "day"), ("clear", "cloudy", "rainy"),
                  ("풀밭", "모래밭", "눈밭", "물"), ("밤", "해 질 녘", "낮")):  # fmt: skip
        for word in words:
            if re.search(word, said(row), re.I):
                new = rng.choice([w for w in words if w != word])
                return say(row, re.sub(word, new, said(row), count=1, flags=re.I))
    return None


def other_picture(row: Row, rng: random.Random, others: Sequence[Row]) -> Row | None:
    """The picture of another scene, as of a row one off; None where there is none."""
    foreign = [o for o in others if o["images"] and o["scenes"][0] != row["scenes"][0]]
    if not foreign:
        return None
    wrong = rng.choice(foreign)
    if not row["images"]:
        return None
    return {**copy.deepcopy(row), "images": [wrong["images"][0], *row["images"][1:]]}


RULES = (
    flip_yes_no, other_colour, other_kind, other_place, other_number, other_letter, other_size, moved_box, other_setting,
)  # fmt: skip


def inject(row: Row, rng: random.Random, others: Sequence[Row]) -> tuple[str, Row | None] | None:
    """One error.

    Args:
        row: a true one, of program-made questions.
        rng: chooses the error.
        others: rows whose pictures may be taken for its own.

    Returns:
        (name of the rule, the row made false, or None where it has no picture or no other row has another scene's);
        None where no rule applies.
    """
    rules = list(RULES)
    rng.shuffle(rules)
    if rng.random() < 0.1:
        return "other_picture", other_picture(row, rng, others)
    for rule in rules:
        spoilt = rule(row, rng)
        if spoilt is not None and spoilt["messages"] != row["messages"]:
            return rule.__name__, spoilt
    return None


def inject_open(text: str, scene: str, rng: random.Random) -> str:
    """JSON that a model wrote about a scene, with one thing of its texts made false; as it was where no rule applies."""
    found = json.loads(text)
    answers = list(found["turns"]) if "turns" in found else [found]
    rng.shuffle(answers)
    for answer in answers:
        key = "description" if "description" in answer else "answer"
        row = {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": answer.get("question", ""), "image": None}]},
                {"role": "assistant", "content": [{"type": "text", "text": answer[key], "image": None}]},
            ],
            "scenes": [scene], "language": "en", "answer_type": "open", "template": "open",
        }  # fmt: skip
        rules = [flip_yes_no, other_colour, other_kind, other_place, other_setting]
        rng.shuffle(rules)
        for rule in rules:
            spoilt = rule(row, rng)
            if spoilt is not None and said(spoilt) != answer[key]:
                answer[key] = said(spoilt)
                return json.dumps(found)
    return text
