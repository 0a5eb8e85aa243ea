"""Answers in words, read back into values: what a checker or an evaluation takes a text to say.

Nothing defaults to yes. A text that says neither, or both, is unparsed, and that is an answer of its own: `None` here,
a rate of its own in an evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from limbeck.korean import read_numeral
from limbeck.korean import yes_no as korean_yes_no
from limbeck.questions import english, hangul
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, SIZES, TIMES, WEATHERS

NOTHING = "nothing"
"""Read from a text that says that what was asked about isn't there; a program's value for it is None."""
_YES = re.compile(r"(yes|yeah|yep|correct|true|indeed|sure)\b", re.IGNORECASE)
_NO = re.compile(r"(no|nope|not|incorrect|false|none|there (is|are) no|there (isn['’]t|aren['’]t))\b", re.IGNORECASE)
_NEGATED = re.compile(r"\b(no|not|none|never|without|cannot)\b|n['’]t\b", re.IGNORECASE)
_UNSURE = re.compile(
    r"\b(can(not|['’]?t| not)|could(n['’]?t| not)|hard to|impossible to|not able to|unable to) (be )?(tell|say|know|determine|determined|told|said|answer)\b"
    r"|\b(don['’]?t|do not) know\b|\bnot (sure|certain|clear|possible)\b|\bunclear\b|\bno idea\b",
    re.IGNORECASE,
)
_AFFIRMED = re.compile(r"^(there (is|are)|i (can )?see|it (is|does|has)|the \w+ (is|are|has)|a |an )", re.IGNORECASE)
_NUMBER = r"-?\d+(?:\.\d+)?"
_NUMERALS = {"no": 0, "none": 0, "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
VALUES: dict[str, Sequence[str]] = {
    "colour": COLOURS, "kind": KINDS, "size": SIZES, "place": PLACES, "ground": GROUNDS, "time": TIMES,
    "weather": WEATHERS, "which": ("first", "second"), "changed": tuple(english.CHANGED),
}  # fmt: skip


def yes_no(text: str, language: str) -> bool | None:
    """What an answer to a yes-or-no question says, None where it says neither.

    >>> yes_no("Yes, and there are no other people.", "en"), yes_no("NO", "en"), yes_no("", "en"), yes_no("None", "en")
    (True, False, None, False)
    >>> yes_no("I see no cat.", "en"), yes_no("There is a cat.", "en"), yes_no("아니요", "ko"), yes_no("Maybe", "en")
    (False, True, False, None)
    """
    if language == "ko":
        return korean_yes_no(text)
    text = text.strip(" \t\n\"'“”‘’([*")
    if _YES.match(text):
        return True
    if _NO.match(text) and not _UNSURE.match(text):
        return False
    first = re.split(r"[.!?\n]", text, maxsplit=1)[0]
    if _UNSURE.search(first):
        return None
    if _NEGATED.search(first):
        return False
    return True if _AFFIRMED.match(first) else None


def read(text: str, answer_type: str, category: str, language: str, options: Sequence[str] = ()) -> Any:
    """The value of a short answer or a choice.

    >>> read("Red.", "word", "colour", "en"), read("파란색입니다", "word", "colour", "ko"), read("B", "choice", "kind", "en", ["cat", "car"])
    ('red', 'blue', 'car')
    >>> read("(0.250, 0.500)", "point", "point", "en"), read("reddish", "word", "colour", "en") is None
    ([0.25, 0.5], True)

    Args:
        text: what was answered.
        answer_type: yes_no, word, phrase, number, box, point or choice.
        category: of the value, see `limbeck.questions.template.Wording`; `yes_no`, or one of `VALUES`.
        language: `en` or `ko`.
        options: of a choice, in order.

    Returns:
        The value; `NOTHING`; or None where the text says no value, or several.
    """
    if answer_type == "choice":
        chosen = _letter(text, language, options)
        return None if chosen is None else read(chosen, "word", category, language)
    if category == "yes_no":
        return yes_no(text, language)
    if category in ("number", "mark"):
        return number(text, language)
    if category in ("box", "point"):
        return coordinates(text, 4 if category == "box" else 2)
    found = values_in(text, category, language)
    if len(found) == 1:
        return found.pop()
    return NOTHING if not found and _says_nothing(text, language) else None


def values_in(text: str, category: str, language: str) -> set[str]:
    """Every value of a category that a text names.

    >>> sorted(values_in("a pink cat and a red ball", "colour", "en")), values_in("오른쪽에", "place", "ko")
    (['pink', 'red'], {'right'})
    """
    return {value for value, pattern in _patterns(category, language).items() if pattern.search(text)}


def number(text: str, language: str) -> int | None:
    """The one number in a text; None for none or several.

    >>> number("I count two.", "en"), number("두 개입니다.", "ko"), number("one or two", "en")
    (2, 2, None)
    """
    if language == "ko":
        return read_numeral(text.rpartition("모두")[2])
    found = {int(n) for n in re.findall(r"\b\d+\b", text)}
    found |= {n for name, n in _NUMERALS.items() if re.search(rf"\b{name}\b", text, re.IGNORECASE)}
    return found.pop() if len(found) == 1 else None


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
