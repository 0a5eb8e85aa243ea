"""Reads claims out of English: a scan over words, one noun phrase and one copula at a time."""

from __future__ import annotations

import re
from dataclasses import replace

from limbeck.questions.claims import ANYTHING, STRANGER, Claim

_KINDS = {
    "ball": "ball balls", "house": "house houses home homes cottage cottages hut", "tree": "tree trees",
    "car": "car cars automobile automobiles", "boat": "boat boats sailboat sailboats ship ships",
    "flower": "flower flowers blossom blossoms", "mushroom": "mushroom mushrooms toadstool toadstools",
    "cat": "cat cats kitten kittens kitty", "sun": "sun", "moon": "moon", "star": "star stars", "cloud": "cloud clouds",
    ANYTHING: "thing things object objects item items",
}  # fmt: skip
_STRANGERS = ["person", "people", "man", "men", "woman", "women", "child", "children", "boy", "girl", "baby", "dog", "dogs", "puppy", "bird", "birds", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "rabbit", "mouse", "fish", "duck", "bus", "truck", "train", "bicycle", "bike", "motorcycle", "airplane", "plane", "bench", "chair", "table", "sofa", "couch", "bed", "umbrella", "bag", "backpack", "hat", "kite", "frisbee", "skateboard", "surfboard", "bottle", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "orange_fruit", "cake", "pizza", "book", "clock", "vase", "laptop", "phone", "television", "lamp", "fence", "bridge", "road", "street", "mountain", "mountains", "hill", "hills", "river", "castle", "tower", "church", "tent", "flag", "balloon", "balloons", "rainbow", "snowman", "butterfly", "bee", "dragon", "robot", "rocket", "key", "door_mat", "basket", "rock", "rocks", "stone", "bush", "bushes", "lighthouse", "windmill", "swing", "slide"]
_NOUNS = {form: kind for kind, forms in _KINDS.items() for form in forms.split()} | {s: STRANGER + s for s in _STRANGERS}
_COLOURS = {c: c for c in ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown"]} | {
    "violet": "purple", "scarlet": "red", "crimson": "red", "golden": "yellow", "magenta": "pink",
}  # fmt: skip
_OTHER_COLOURS = {"black", "white", "grey", "gray", "turquoise", "beige", "silver", "teal"}
_SIZES = {"big": "big", "large": "big", "huge": "big", "small": "small", "little": "small", "tiny": "small"}
_NUMBERS = {n: i for i, n in enumerate(["zero", "one", "two", "three", "four", "five", "six"])} | {str(i): i for i in range(10)} | {"single": 1}
_SETTINGS = {
    "grass": ("ground", "grass"), "grassy": ("ground", "grass"), "lawn": ("ground", "grass"), "meadow": ("ground", "grass"),
    "sand": ("ground", "sand"), "sandy": ("ground", "sand"), "beach": ("ground", "sand"),
    "snow": ("ground", "snow"), "snowy": ("ground", "snow"), "water": ("ground", "water"), "sea": ("ground", "water"),
    "lake": ("ground", "water"), "day": ("time", "day"), "daytime": ("time", "day"), "daylight": ("time", "day"),
    "sunset": ("time", "sunset"), "dusk": ("time", "sunset"), "night": ("time", "night"), "nighttime": ("time", "night"),
    "clear": ("weather", "clear"), "cloudy": ("weather", "cloudy"), "overcast": ("weather", "cloudy"),
    "rain": ("weather", "rainy"), "rainy": ("weather", "rainy"), "raining": ("weather", "rainy"), "raindrops": ("weather", "rainy"),
}  # fmt: skip
_PHRASES = [  # longest first; what is put in their place is one word
    (r"(number|marked( with)?( the number)?) \d+", " "),
    (r"(the )?(sun is setting|setting sun|sun sets)", " sunset "),
    (r"time of (the )?day|these days|day and night", " "),
    (r"(more|fewer) (small|big) (things|objects|ones)? ?than (small|big)( ones| things)?", r" @more_\1_\2_\4 "),
    (r"(further|farther|more) (to the )?(left|right) than", r" @beside_\3 "),
    (r"(further|farther|more) to the (left|right)(?! (of|than))", " "),
    (r"(on|to|at) the (left|right)([- ]hand)?( side)? of (?=(the|an?|it)\b)(?!the (picture|scene|image))", r" @beside_\2 "),
    (r"\b(left|right) of (?=(the|an?)\b)(?!the (picture|scene|image))", r" @beside_\1 "),
    (r"(on|to|at|in) the (far )?(left|right)([- ]hand)?( (side|part|half))?( of the (picture|scene|image))?", r" @place_\3 "),
    (r"(in|at) the (very )?(middle|cent(er|re))( of the (picture|scene|image))?", " @place_middle "),
    (r"in between|between", " @between "),
    (r"(taller|higher) than", " @taller "),
    (r"(shorter|lower) than", " @shorter "),
    (r"orange (is|as) a fruit", " "),
    (r"(is|are|does|do|was|could)n['’]?t", r"\1 not"),
    (r"can['’]t", "can not"),
    (r"cannot", "can not"),
]
_HEDGES = frozenset(["might", "may", "could", "would", "maybe", "perhaps", "probably", "if", "imagine", "suppose", "suggests", "should", "wish", "likely"])
_DETERMINERS = frozenset(["the", "a", "an", "this", "that", "its", "their", "another", "some"])
_COPULAS = frozenset(["is", "are", "was", "were", "looks", "look", "appears", "has", "being", "be"])
_PRONOUNS = frozenset(["it", "they"])
_NEGATIONS = frozenset(["no", "not", "without", "never", "neither", "nor", "none"])
_CLAUSE = frozenset([",", ";", ":", "and", "but", "while", "which", "that", "with", "or"])


def claims_of(text: str) -> list[Claim]:
    """The claims of an English text, in order."""
    text = re.sub(r"[\[(][\d.,\s-]+[\])]", " ", text.lower())
    claims: list[Claim] = []
    subject = ""
    for number, sentence in enumerate(s for s in re.split(r"[.!?\n]+", text) if s.strip()):
        found, subject = _Sentence(sentence, subject).read()
        claims += [replace(claim, sentence=number) for claim in found]
    return claims


class _Sentence:
    """One sentence, read from left to right.

    Attributes:
        last: kind of the last noun; what "it" and a copula speak of.
    """

    def __init__(self, sentence: str, subject: str) -> None:
        for pattern, instead in _PHRASES:
            sentence = re.sub(rf"\b(?:{pattern})\b" if pattern[0] not in "\\(" else pattern, instead, sentence)
        self.words = re.findall(r"@[\w]+|[a-z]+|\d+|[,;:]", sentence)
        self.hedged = bool(_HEDGES.intersection(self.words))
        self.claims: list[Claim] = []
        self.last = subject
        self.subject = ""
        self.having: dict[str, str] = {}
        self.number: int | None = None
        self.in_phrase = self.copula = self.negated = self.foreign = False
        self.relation = ""
        self.between: list[str] = []

    def read(self) -> tuple[list[Claim], str]:
        if self.words[:2] and self.words[0] in ("no", "yes"):
            self.words = self.words[1:] if self.words[1:2] == [","] else self.words
        for i, word in enumerate(self.words):
            self._take(word, self.words[i + 1] if i + 1 < len(self.words) else "")
        self._end_predicate()
        return self.claims, self.last

    def _take(self, word: str, following: str) -> None:
        if word.startswith("@"):
            self._phrase(*word[1:].split("_"))
        elif word in _NUMBERS:
            self.number = _NUMBERS[word]
        elif word in _COLOURS or word in _SIZES:
            self.having["colour" if word in _COLOURS else "size"] = _COLOURS.get(word) or _SIZES[word]
        elif word in _OTHER_COLOURS:
            self.having["colour"] = word
        elif word in _SETTINGS and not (word in ("clear", "water", "rain") and following in _NOUNS):
            name, value = _SETTINGS[word]
            self._say("setting", "", {name: value}, negated=self.negated)
        elif word in _NOUNS:
            self._noun(_NOUNS[word])
        elif word in _NEGATIONS:
            self.negated = True
        elif word in _COPULAS:
            self._end_predicate()
            self.subject, self.copula = self.last, True
        elif word in _DETERMINERS:
            self._end_predicate()
            self.in_phrase = True
        elif word in _PRONOUNS:
            self._end_predicate()
        elif word in _CLAUSE and not (word == "," and self.in_phrase and self.having) and not (word == "and" and self.between):
            self._end_predicate()
            if word == ":" and self.number is not None:
                self._say("count", ANYTHING, {}, value=self.number)
            self.number = None
            if word in (";", ":", "but", "while", ","):
                self.negated = False

    def _phrase(self, what: str, *rest: str) -> None:
        if what == "place":
            if self.copula and not self.in_phrase:
                self._end_predicate()
                self._say("is", self.subject, {"place": rest[0]}, negated=self.negated)
            elif self.claims and self.claims[-1].about == "there" and not self.claims[-1].negated and self.last == self.claims[-1].kind:
                old = self.claims.pop()
                self._say("there", old.kind, {**old.having, "place": rest[0]})
            elif self.last and self.claims and self.claims[-1].negated:
                old = self.claims.pop()
                self._say("there", old.kind, {**old.having, "place": rest[0]}, negated=True)
            else:
                self.having["place"] = rest[0]  # "on the left stands a red ball"
        elif what in ("beside", "taller", "shorter", "between"):
            subject = self.subject if self.copula and self.subject else self.last
            self._end_predicate()
            self.subject = subject
            self.relation = "_".join([what, *rest])
            self.between = [subject] if what == "between" else []
        elif what == "more":
            more, size, size2 = rest
            first, second = (size, size2) if more == "more" else (size2, size)
            self._say("more", "", {}, other=second, value=first, negated=self.negated)
            self.number = None

    def _noun(self, kind: str) -> None:
        if self.number is not None and self.number != 1 and not (kind == ANYTHING and self.having.get("place")):
            self._say("count", kind, self.having, value=self.number, negated=self.negated)
        elif kind != ANYTHING or self.having:
            self._say("there", kind, self.having, negated=(self.negated and not self.copula) or (self.negated and not self.relation))
        self._relate(kind)
        negated_there = self.negated and not self.relation
        self.having, self.number, self.in_phrase, self.copula = {}, None, False, False
        if negated_there:
            self.negated = False
        self.last = kind

    def _relate(self, kind: str) -> None:
        what, _, side = self.relation.partition("_")
        if what == "between":
            self.between.append(kind)
            if len(self.between) == 3:
                a, b, c = self.between
                self._say("between", a, {}, other=b, third=c)
                self.relation, self.between = "", []
        elif what == "beside":
            self._say("beside", self.subject, {}, other=kind, value=side, negated=self.negated)
            self.relation, self.negated = "", False
        elif what in ("taller", "shorter"):
            pair = (self.subject, kind) if what == "taller" else (kind, self.subject)
            self._say("taller", pair[0], {}, other=pair[1], negated=self.negated)
            self.relation, self.negated = "", False

    def _end_predicate(self) -> None:
        """What adjectives without a noun say is said of the subject."""
        if self.having and self.copula and not self.in_phrase and self.claims and self.claims[-1].about == "count":
            counted = self.claims.pop()  # "two things are big" counts big things
            self.claims.append(replace(counted, having={**counted.having, **self.having}))
            self.having = {}
        if self.having and self.copula and not self.in_phrase:
            self._say("is", self.subject, self.having, negated=self.negated)
            self.negated = False
            self.having = {}
        if self.having and not self.in_phrase and "place" not in self.having:
            self.having = {}

    def _say(self, about: str, kind: str, having: dict[str, str], **rest: object) -> None:
        self.claims.append(Claim(about, kind, dict(having), hedged=self.hedged, **rest))  # type: ignore[arg-type]
