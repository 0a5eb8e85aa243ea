"""Answers in words, read back into values: what a checker or an evaluation takes a text to say.

Nothing defaults to yes, and what a text denies it doesn't say. A text that says neither, or both, is unparsed, and that
is an answer of its own: `None` here, a rate of its own in an evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from limbeck.korean import read_numeral
from limbeck.korean import yes_no as korean_yes_no
from limbeck.questions import english, hangul
from limbeck.questions.clauses import Clause, clauses
from limbeck.questions.yes_or_no import yes_no
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, SIZES, TIMES, WEATHERS

NOTHING = "nothing"
"""Read from a text that says that what was asked about isn't there; a program's value for it is None."""
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)"
_BARE_NO = re.compile(r"no|nope|아니요|아니오|아뇨", re.IGNORECASE)
_NUMERALS = {"no": 0, "none": 0, "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
VALUES: dict[str, Sequence[str]] = {
    "colour": COLOURS, "kind": KINDS, "size": SIZES, "place": PLACES, "ground": GROUNDS, "time": TIMES,
    "weather": WEATHERS, "which": ("first", "second"), "changed": tuple(english.CHANGED),
}  # fmt: skip


def read(
    text: str, answer_type: str, category: str, language: str, options: Sequence[str] = (), question: str = ""
) -> Any:
    """The value of a short answer or a choice.

    >>> read("Red.", "word", "colour", "en"), read("파란색입니다", "word", "colour", "ko"), read("B", "choice", "kind", "en", ["cat", "car"])
    ('red', 'blue', 'car')
    >>> read("(0.250, .5)", "point", "point", "en"), read("reddish", "word", "colour", "en"), read("not red", "word", "colour", "en")
    ([0.25, 0.5], None, None)

    Args:
        text: what was answered.
        answer_type: yes_no, word, phrase, number, box, point or choice.
        category: of the value, see `limbeck.questions.template.Wording`; `yes_no`, or one of `VALUES`.
        language: `en` or `ko`.
        options: of a choice, in order.
        question: what was asked, for a yes that only a sentence says.

    Returns:
        The value; `NOTHING`; or None where the text says no value, or several.
    """
    if answer_type == "choice":
        chosen = _letter(text, language, options)
        return None if chosen is None else read(chosen, "word", category, language)
    if category == "yes_no":
        return yes_no(text, language, question)
    if category in ("number", "mark"):
        return number(text, language)
    if category in ("box", "point"):
        return coordinates(text, 4 if category == "box" else 2)
    found = values_said(text, category, language)
    if len(found) == 1:
        return found.pop()
    return NOTHING if not values_in(text, category, language) and _says_nothing(text, language) else None


def read_of_a_thing(text: str, category: str, language: str, question: str) -> Any:
    """The value of an answer to a question about a thing that need not be there.

    Clauses about other things aside, the first that says a value decides, or the first that says that there is none.

    >>> asked = "What colour is the cat?"
    >>> [read_of_a_thing(text, "colour", "en", asked) for text in ("It is red, not blue.", "There is no cat; a ball is red.")]
    ['red', 'nothing']

    Args:
        text: what was answered.
        category: of the value, one of `VALUES`.
        language: `en` or `ko`.
        question: what was asked; it names the thing.

    Returns:
        The value; `NOTHING`; or None where the text says neither, or several values.
    """
    asked = values_in(question, "kind", language)
    refused = False
    for clause in clauses(text, language):
        things = values_in(clause.text, "kind", language)
        if asked and things and not things & asked:
            continue
        if _BARE_NO.fullmatch(clause.text):
            refused = True
        elif found := _said(clause, category, language):
            return found.pop() if len(found) == 1 else None
        elif not values_in(clause.text, category, language) and yes_no(clause.text, language) is False:
            return NOTHING
    return NOTHING if refused else None


def values_in(text: str, category: str, language: str) -> set[str]:
    """Every value of a category that a text names.

    >>> sorted(values_in("a pink cat and a red ball", "colour", "en")), values_in("오른쪽에", "place", "ko")
    (['pink', 'red'], {'right'})
    """
    return {*values_in_order(text, category, language)}


def values_in_order(text: str, category: str, language: str) -> list[str]:
    """The same in the order in which the text names them first.

    >>> values_in_order("Which is taller, the house or the ball?", "kind", "en")
    ['house', 'ball']
    """
    found = {value: pattern.search(text) for value, pattern in _patterns(category, language).items()}
    places = {value: match.start() for value, match in found.items() if match}
    return sorted(places, key=places.__getitem__)


def values_said(text: str, category: str, language: str) -> set[str]:
    """Every value of a category that a text names and doesn't deny.

    >>> values_said("It isn't red, it is blue.", "colour", "en"), values_said("빨간색이 아니라 파란색입니다.", "colour", "ko")
    ({'blue'}, {'blue'})
    """
    return {value for clause in clauses(text, language) for value in _said(clause, category, language)}


def _said(clause: Clause, category: str, language: str) -> set[str]:
    return clause.said(lambda part: values_in(part, category, language))


def number(text: str, language: str) -> int | None:
    """The one number that a text says; None for none or several.

    >>> number("I count two.", "en"), number("두 개입니다.", "ko"), number("one or two", "en"), number("not two", "en")
    (2, 2, None, None)
    """
    if language == "ko":
        parts = clauses(text.rpartition("모두")[2], language)
        return read_numeral(", ".join(part.text for part in parts if part.negation in ("", "없")))  # 없다 is a number
    parts = clauses(text, language)
    parts = [part for part in parts if not _BARE_NO.fullmatch(part.text)] or parts  # "No, there are two."
    found: set[int] = set()
    for part in parts:
        found |= _numbers(part.text) if part.negation in ("no", "none") else part.said(_numbers)
    return found.pop() if len(found) == 1 else None


def _numbers(text: str) -> set[int]:
    """Every number that an English text names; "no" and "none" are numbers."""
    named = {n for name, n in _NUMERALS.items() if re.search(rf"\b{name}\b", text, re.IGNORECASE)}
    return named | {int(n) for n in re.findall(r"\b\d+\b", text)}


def coordinates(text: str, count: int) -> list[float] | None:
    """The numbers in the first pair of brackets that holds exactly so many.

    >>> coordinates("It is in [0.1, 0.2, 0.3, 0.4].", 4)
    [0.1, 0.2, 0.3, 0.4]
    """
    for inner in re.findall(r"[\[(]([^\[\]()]*)[\])]", text):
        numbers = [float(n) for n in re.findall(_NUMBER, inner)]
        if len(numbers) == count:
            return numbers
    return None


def _letter(text: str, language: str, options: Sequence[str]) -> str | None:
    letters = (hangul if language == "ko" else english).LETTERS[: len(options)]
    bare = text.strip(" \t\n.()[]\"'")
    if bare in letters:
        return options[letters.index(bare)]
    opened = re.match(rf"\(?([{''.join(letters)}])(?:[.):]|\s*번)\s*", text.strip())
    return options[letters.index(opened[1])] if opened else None


def _says_nothing(text: str, language: str) -> bool:
    if language == "ko":
        return korean_yes_no(text) is False
    return bool(re.search(r"\b(there is no|there are no|none|nothing|nowhere|no such|i see no)\b", text, re.IGNORECASE))


_SYNONYMS = {
    "en": {
        "cat": "kitten|kitty|cats", "car": "automobile|cars", "boat": "sailboat|ship|boats", "house": "home|cottage|houses",
        "tree": "trees", "flower": "flowers|blossom", "mushroom": "toadstool|mushrooms", "ball": "balls",
        "big": "large|huge", "small": "little|tiny", "middle": "centre|center", "left": "left-hand", "right": "right-hand",
        "grass": "grassy|lawn|meadow", "sand": "sandy|beach", "snow": "snowy", "water": "sea|lake",
        "day": "daytime|daylight", "sunset": "dusk|sundown", "night": "nighttime",
        "clear": "sunny", "cloudy": "overcast|clouds", "rainy": "raining|rain", "purple": "violet",
        "number": "number of things|count", "kind": "kind of thing", "colour": "color|colour of a thing",
    },
}  # fmt: skip
_KOREAN = {
    "colour": {
        "red": "빨간|빨강|붉은", "orange": "주황", "yellow": "노란|노랑", "green": "초록|녹색", "blue": "파란|파랑|푸른",
        "purple": "보라", "pink": "분홍", "brown": "갈색",
    },
    "kind": {
        "ball": "공", "house": "집", "tree": "나무", "car": "자동차|차", "boat": "배|보트", "flower": "꽃",
        "mushroom": "버섯", "cat": "고양이",
    },
    "size": {"big": "큰|큼|크|커", "small": "작"},
    "place": {"left": "왼쪽|왼편", "middle": "가운데|중앙", "right": "오른쪽|오른편"},
    "ground": {"grass": "풀밭|잔디", "sand": "모래", "snow": "눈밭|눈 위", "water": "물"},
    "time": {"day": "낮|대낮", "sunset": "해 질 녘|해질녘|노을|저녁", "night": "밤"},
    "weather": {"clear": "맑", "cloudy": "흐[리린림립]|구름", "rainy": "비"},
    "which": {"first": "첫 번째|첫째|첫번째", "second": "두 번째|둘째|두번째"},
    "changed": {
        "number": "개수", "kind": "종류", "colour": "색", "size": "크기", "place": "위치", "ground": "바닥",
        "time": "시간대", "weather": "날씨", "style": "그림체",
    },
}  # fmt: skip
_PARTICLE = r"(?=$|[^가-힣]|은|는|이|가|을|를|과|와|의|에|도|만|이고|이며|이나|나|로|으로|입니다|이에요|예요|인|보다|처럼|까지|부터|밖)"
"""What may follow a noun that is short enough to begin another word: 배, 공, 집, 꽃, 물, 밤, 낮, 비."""
_CACHE: dict[tuple[str, str], dict[str, re.Pattern[str]]] = {}


def _patterns(category: str, language: str) -> dict[str, re.Pattern[str]]:
    key = category, language
    if key not in _CACHE:
        out = {}
        for value in VALUES[category]:
            if language == "ko":
                words = _KOREAN[category][value].split("|")
                stems = category in ("kind", "ground", "time") or words == ["비"]
                ends = [f"{word}{_PARTICLE}" if stems and len(word) == 1 else word for word in words]
                out[value] = re.compile(rf"(?<![가-힣])(?:{'|'.join(ends)})")
            else:
                words = [value, *(w for w in [_SYNONYMS["en"].get(value, "")] if w)]
                if category == "changed":
                    words.append(english.CHANGED[value])
                out[value] = re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
        _CACHE[key] = out
    return _CACHE[key]
