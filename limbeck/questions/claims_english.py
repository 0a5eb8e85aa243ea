"""Reads claims out of English: a scan over words, one noun phrase and one copula at a time.

What it follows: things joined before a verb ("the ball and the house are red"), what stands for a thing ("one", "it",
"both"), what says another thing of the same ("the thing on the left is a house"), denials, and relations told backwards
("to the left of the house is a ball"). A guess is hedged within its clause ("the ground is water, so a boat could
float"), a supposition ("if") in its whole sentence; a question claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from limbeck.questions.claims import ANYTHING, Claim
from limbeck.questions.claims_english_words import (
    BREAKS,
    CLAUSE,
    COLOURS,
    COPULAS,
    DETERMINERS,
    EXCEPTIONS,
    GONE,
    HEDGES,
    INVERTED,
    NEGATIONS,
    NOBODY,
    NOUNS,
    NUMBERS,
    OTHER_COLOURS,
    PARTS,
    PHRASES,
    PRONOUNS,
    SETTINGS,
    SIZES,
    SUPPOSING,
)

_NO_THING = "-"
"""The subject of "nothing is red"."""


def claims_of(text: str) -> list[Claim]:
    """The claims of an English text, in order."""
    text = re.sub(r"[\[(][\d.,\s-]+[\])]", " ", text.lower())
    claims: list[Claim] = []
    topic: list[str] = []
    sentences = [s for s in re.findall(r"[^.!?\n]+[.!?\n]?", text) if s.strip(" .!?\n")]
    for number, sentence in enumerate(sentences):
        read = _Sentence(sentence, topic)
        if not sentence.endswith("?"):
            claims += [replace(claim, sentence=number) for claim in read.claims]
        topic = read.topic
    return claims


class _Sentence:
    """One sentence, read from left to right.

    Attributes:
        claims: what it says.
        topic: what "it" or "they" speak of in the next sentence.
    """

    def __init__(self, sentence: str, topic: list[str]) -> None:
        for pattern, instead in PHRASES:
            sentence = re.sub(rf"\b(?:{pattern})\b" if pattern[0] not in "\\(" else pattern, instead, sentence)
        self.words = re.findall(r"@[\w]+|[a-z]+|\d+|[,;:]", sentence)
        if self.words[:1] and self.words[0] in ("no", "yes") and self.words[1:2] == [","]:
            self.words = self.words[1:]
        self.claims: list[Claim] = []
        self.group, self.subjects = list(topic), list(topic)  # things just named together; what the last verb speaks of
        self.named: list[str] = []  # every thing of the sentence
        self.having: dict[str, str] = {}
        self.number: int | None = None
        self.in_phrase = self.copula = self.negated = self.denied = self.both = False
        self.adjacent = self.joined = self.objects = False  # right after a thing; after its "and"; after the verb
        self.fresh = False  # whether this clause has named a thing
        self.relation = self.order = ""
        self.between: list[str] = []
        self.pending: tuple[str, ...] = ()  # a relation whose subject is still to come
        self.host = ""  # of "a house with a flower on its left"
        self.thing: tuple[dict[str, str], int] | None = None  # what is said of a thing before it is named
        self.equating = False
        self.hedged = False
        self._read()
        self.topic = self.group if len(set(self.named)) <= 1 else self.first_subjects

    def _read(self) -> None:
        self.first_subjects: list[str] = []
        hedges = self._hedges()
        for i, word in enumerate(self.words):
            if word in BREAKS:
                self._end_predicate()
            self.hedged = hedges[i]
            self._take(i, word, self.words[i + 1] if i + 1 < len(self.words) else "")
        self._end_predicate()
        kinds = [kind for kind in dict.fromkeys(self.named) if kind != ANYTHING]
        for a, b in pairwise(kinds if self.order else ()):
            self._say("beside", a, {}, other=b, value=self.order)

    def _hedges(self) -> list[bool]:
        """Of each word, whether its clause guesses."""
        if SUPPOSING.intersection(self.words):
            return [True] * len(self.words)
        out: list[bool] = []
        clause: list[str] = []
        for word in (*self.words, ";"):
            if clause and (word in BREAKS or (word == "," and clause[0] in BREAKS)):
                out += [bool(HEDGES.intersection(clause))] * len(clause)
                clause = []
            clause.append(word)
        return out[: len(self.words)]

    def _take(self, i: int, word: str, following: str) -> None:
        if word.startswith("@"):
            self._phrase(i, *word[1:].split("_"))
        elif word == "one" and self.having and following not in NOUNS:
            self._said_of(self.subjects or self.group)  # "it is a small brown one"
        elif word == "ones":
            self._noun(ANYTHING)
        elif word == "single" and NOUNS.get(following) == ANYTHING:
            self._say("count", ANYTHING, self.having, value=1, negated=self.negated)
        elif word in NUMBERS:
            self.number = NUMBERS[word]
        elif word in COLOURS or word in SIZES or word in OTHER_COLOURS:
            self.having["size" if word in SIZES else "colour"] = COLOURS.get(word) or SIZES.get(word) or word
        elif word in SETTINGS and not (word in ("clear", "water", "rain") and following in NOUNS):
            name, value = SETTINGS[word]
            self._say("setting", "", {name: value}, negated=self.negated)
            self.adjacent = False
        elif word in NOUNS:
            self._noun(NOUNS[word])
        elif word in NOBODY:
            self.subjects = self.group = [_NO_THING]
            self._no_thing()
        elif word == "what":
            self.group, self.thing = [ANYTHING], ({}, 1)
        elif word in PARTS:
            if self.having and self.group:
                self._said_of(self.group)
        elif (word in GONE and self.copula) or (
            word == "there" and self.copula and self.negated and self.subjects and not following
        ):
            self._gone()
        elif word in NEGATIONS:
            self.negated = True
        elif word in EXCEPTIONS:
            self.negated = self.denied = False
        elif word in COPULAS:
            self._copula()
        elif word in DETERMINERS:
            self._end_predicate()
            if self.in_phrase:  # adjectives of a thing that isn't known
                self.having = {name: value for name, value in self.having.items() if name == "place"}
            self.in_phrase = True
        elif word in PRONOUNS:
            self._end_predicate()
            self.group = list(self.subjects or self.group)
        elif word == "both":
            self.both = True
        elif word in CLAUSE:
            self._clause(word, following)
        else:
            self.adjacent = False

    def _copula(self) -> None:
        self._end_predicate()
        if self.both and len(self.group) < 2:
            self.group, self.both = self.named[-2:] or self.group, False  # "... and ...: both are red"
        self.subjects, self.copula, self.objects, self.adjacent = list(self.group), True, True, False
        self.first_subjects = self.first_subjects or list(self.group)
        self.equating = self.thing is not None and self.group == [ANYTHING]

    def _clause(self, word: str, following: str) -> None:
        if (word == "," and self.in_phrase and self.having) or (word == "and" and self.between):
            return
        self._end_predicate()
        if word == ":" and self.number is not None:
            self._say("count", ANYTHING, {}, value=self.number)
        if word in (",", ":") and self.thing and (following in DETERMINERS or following in PRONOUNS):
            self.equating = True  # "one big thing, a tree"
        self.number = None
        if word in BREAKS or word == ",":
            self.negated = False
        if word in BREAKS:
            self.having, self.pending = {}, ()
        if word == "or" and self.denied:
            self.negated = True
        if word == "with":
            self.host = self.group[-1] if self.group else ""
        else:
            self.fresh = False
        self.denied = False
        if word == ":" and self.adjacent and following not in DETERMINERS:  # "it is a cat: small and brown"
            self.subjects, self.copula = list(self.group), True
        self.adjacent = self.adjacent and word in ("and", ",", "or")
        self.joined = word in ("and", ",", "or") and self.adjacent and not self.objects
        self.objects = self.objects and word == "or"

    def _phrase(self, i: int, what: str, *rest: str) -> None:
        if what == "place":
            self._place(rest[0])
        elif what == "its":
            self._end_predicate()
            if self.host and self.group and self.group[-1] != self.host:
                self._say("beside", self.group[-1], {}, other=self.host, value=rest[0])
            elif self.group:
                self.pending = ("beside", self.group[-1], rest[0])
        elif what == "order":
            self.order = rest[0]
        elif what == "more":
            more, size, size2 = rest
            first, second = (size, size2) if more == "more" else (size2, size)
            self._say("more", "", {}, other=second, value=first, negated=self.negated)
            self.number = None
        else:
            goes_on = i and self.words[i - 1] in ("and", "or", "but")  # "left of the house and right of the ball"
            subjects = self.subjects if (self.copula or goes_on) and self.subjects else self.group
            self._end_predicate()
            self.subjects = [] if self._inverted(i) else list(subjects)
            self.relation, self.objects = "_".join([what, *rest]), True
            self.between = [""] if what == "between" else []
        self.adjacent = False

    def _inverted(self, i: int) -> bool:
        """Whether a relation's subject comes after its object: "to the left of the house is a ball"."""
        things = 2 if self.words[i] == "@between" else 1
        for at in range(i + 1, len(self.words)):
            if self.words[at] in NOUNS:
                things -= 1
            if not things:
                return self.words[at + 1 : at + 2] != [] and self.words[at + 1] in INVERTED
        return False

    def _place(self, place: str) -> None:
        last = self.claims[-1] if self.claims else None
        thing = self.group[-1] if self.group else ""
        if self.thing is not None and thing == ANYTHING and not self.copula:
            self.thing = ({**self.thing[0], "place": place}, self.thing[1])
        if self.copula and not self.in_phrase and self.subjects:
            self._end_predicate()
            for subject in self.subjects:
                self._about(subject, {"place": place})
            self.negated = False
        elif (
            last
            and last.about == "there"
            and (thing if last.negated else thing == last.kind and (thing != ANYTHING or last.having))
        ):
            self.claims[-1] = replace(last, having={**last.having, "place": place})
        elif self.fresh and thing not in ("", ANYTHING):
            self._say("is", thing, {"place": place})  # "a house with blue walls stands on the left"
        elif thing != ANYTHING or not self.fresh:
            self.having["place"] = place  # "on the left stands a red ball"

    def _noun(self, kind: str) -> None:
        if self.pending and kind not in (ANYTHING, *self.pending[1:]):
            self._told_backwards(kind)
        if self.number is not None and self.number != 1 and not (kind == ANYTHING and self.having.get("place")):
            self._say("count", kind, self.having, value=self.number, negated=self.negated)
        elif kind != ANYTHING or self.having:
            self._say(
                "there",
                kind,
                self.having,
                negated=(self.negated and not self.copula) or (self.negated and not self.relation),
            )
        if kind == ANYTHING and not self.negated:
            self.thing = (dict(self.having), self.number or 1)
        elif self.equating and self.thing is not None:
            self._equate(kind)
        self._relate(kind)
        self.denied = self.negated and not self.relation
        self.having, self.number, self.in_phrase, self.copula = {}, None, False, False
        if self.denied:
            self.negated = False
        self.group = [*self.group, kind] if self.joined else [kind]
        self.joined, self.adjacent, self.fresh = False, True, True
        self.named.append(kind)

    def _equate(self, kind: str) -> None:
        having, left = self.thing or ({}, 0)
        if having and not self.negated:
            self._say("is", kind, having)
        self.thing = (having, left - 1) if left > 1 else None
        self.equating = self.thing is not None

    def _told_backwards(self, kind: str) -> None:
        what, *rest = self.pending
        if what == "beside":
            self._say("beside", kind, {}, other=rest[0], value=rest[1])
        else:
            self._say("between", kind, {}, other=rest[0], third=rest[1])
        self.pending = ()

    def _relate(self, kind: str) -> None:
        what, _, side = self.relation.partition("_")
        negated = self.negated
        if what == "between":
            self.between.append(kind)
            if len(self.between) == 3:
                _, b, c = self.between
                for subject in self.subjects:
                    self._say("between", subject, {}, other=b, third=c, negated=negated)
                self.pending = () if self.subjects else ("between", b, c)
                self.relation, self.between, self.negated = "", [], False
        elif what == "beside":
            for subject in self.subjects:
                self._say("beside", subject, {}, other=kind, value=side, negated=negated)
            self.pending = () if self.subjects else ("beside", kind, side)
            if not self.both:
                self.relation, self.negated = "", False
            self.both = False
        elif what in ("taller", "shorter"):
            for subject in self.subjects:
                pair = (subject, kind) if what == "taller" else (kind, subject)
                self._say("taller", pair[0], {}, other=pair[1], negated=negated)
            self.relation, self.negated = "", False

    def _end_predicate(self) -> None:
        """What adjectives without a noun say is said of the subject."""
        if self.having and self.copula and not self.in_phrase and self.claims and self.claims[-1].about == "count":
            counted = self.claims.pop()  # "two things are big" counts big things
            self.claims.append(replace(counted, having={**counted.having, **self.having}))
            self.having = {}
        if self.having and self.copula and not self.in_phrase and self.subjects:
            self._said_of(self.subjects)
            self.negated = False
        if self.having and not self.in_phrase and "place" not in self.having:
            self.having = {}

    def _said_of(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self._about(subject, self.having)
        self.having, self.in_phrase = {}, False

    def _about(self, subject: str, having: dict[str, str]) -> None:
        """A subject's attributes; denied ones one by one: "neither big nor red" denies both."""
        if subject == _NO_THING:
            self._say("there", ANYTHING, having, negated=True)
        elif self.negated:
            for name, value in having.items():
                self._say("is", subject, {name: value}, negated=True)
        else:
            self._say("is", subject, having)

    def _no_thing(self) -> None:
        if self.having:  # "on the left is nothing"
            self._say("there", ANYTHING, self.having, negated=True)
        self.having = {}

    def _gone(self) -> None:
        for subject in self.subjects:
            bare = next(
                (c for c in self.claims if c.about == "there" and c.kind == subject and not c.having and not c.negated),
                None,
            )
            if bare is not None:
                self.claims.remove(bare)
            self._say("there", subject, {}, negated=True)
        self.negated = False

    def _say(self, about: str, kind: str, having: dict[str, str], **rest: object) -> None:
        self.claims.append(Claim(about, kind, dict(having), hedged=self.hedged, **rest))  # type: ignore[arg-type]
