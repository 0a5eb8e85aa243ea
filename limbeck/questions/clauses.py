"""Answers in clauses, and what a "not" in them denies.

    "It is red, not blue."            it is red / not: blue
    "There is a cat, but no dog."     there is a cat / no: dog
    "빨간색이 아니라 파란색입니다."         not: 빨간색이 / 파란색입니다

English denies what follows the word, or, where the verb is denied and nothing follows, what stands before it. Korean
denies with the verb that ends the clause: what stands before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

Named = TypeVar("Named")


@dataclass(frozen=True)
class Clause:
    """A clause, and where something is denied in it.

    Attributes:
        text: the whole clause.
        negation: the word that denies something, "" where none does.
        before, after: what stands before that word, and after it; without one the whole clause, and "".
        of_verb: whether the verb is denied, and not only what follows.
    """

    text: str
    negation: str
    before: str
    after: str
    of_verb: bool

    def said(self, named: Callable[[str], set[Named]]) -> set[Named]:
        """What the clause names and doesn't deny.

        >>> [clause.said(lambda text: {*text.split()} & {"red", "blue"}) for clause in clauses("It isn't red, it is blue.", "en")]
        [set(), {'blue'}]

        Args:
            named: what a text names.
        """
        if self.of_verb and not named(self.after):
            return set()
        return named(self.before)


def clauses(text: str, language: str) -> list[Clause]:
    """The clauses of an answer, in order.

    >>> [(c.before, c.negation, c.after) for c in clauses("There is a cat, but no dog.", "en")]
    [('There is a cat', '', ''), ('', 'no', 'dog')]
    >>> [(c.text, c.negation) for c in clauses("고양이는 있지만 개는 없습니다.", "ko")]
    [('고양이는 있습니다', ''), ('개는 없습니다', '없')]
    """
    for pattern, instead in _KOREAN if language == "ko" else _ENGLISH:
        text = pattern.sub(instead, text)
    return [_clause(part.strip(), language) for part in _BREAK.split(text) if part.strip()]


def _clause(text: str, language: str) -> Clause:
    if language == "ko":
        found = _KOREAN_NEGATION.search(text)
        return Clause(text, found[0] if found else "", text, "", found is not None)
    found = _NEGATION.search(text)
    if found is None:
        return Clause(text, "", text, "", False)
    before, word = text[: found.start()].strip(), found[0].lower()
    of_verb = word == "never" or (word in _AFTER_AUXILIARIES and _AUXILIARY.search(before) is not None)
    return Clause(text, word, before, text[found.end() :].strip(), of_verb)


def _patterns(*pairs: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in pairs]


_BREAK = re.compile(r"[,;:!?\n]+|\.(?!\d)|\s[-–]+\s|—")
_ENGLISH = _patterns(
    ("’", "'"),
    (r"\b(?:can't|cannot)\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"n't\b", " not"),
    (r"\b(?:no|without (?:a |any )?) ?doubt\b", ""),
    (r"\bno (?=(?:it|there|i|the|they|this|that|an?|you|we)\b)", "no, "),  # "no it is blue"
    (r"\b(?:but|while|whereas|although|though|yet)\b", ","),
    (r"\band (?=(?:an?|the|it|its|there|i|is|are|no|not)\b)", ","),
)
_NEGATION = re.compile(
    r"\b(?:no|not|none|never|nothing|nowhere|nobody|neither|nor|without|instead of|rather than|missing|absent)\b",
    re.IGNORECASE,
)
_AFTER_AUXILIARIES = ("not", "missing", "absent")
_AUXILIARY = re.compile(
    r"\b(?:is|are|am|was|were|do|does|did|can|could|will|would|has|have|had|should|must|may|might)$", re.IGNORECASE
)
_KOREAN = _patterns(
    (r"^\s*(아니요|아니오|아뇨)(?=\s)", r"\1,"),
    (r"밖에\s*없", "만 있"),  # "none but" is "only"
    (r"(있|없|않)(?:지만|는데|으며|으나|고)(?=[\s,]|$)", r"\1습니다,"),
    (r"보이(?:지만|는데|며|고)(?=[\s,]|$)", "보입니다,"),
    (r"아니(?:지만|라|고|며)(?=[\s,]|$)", "아닙니다,"),
    (r"(고|며|지만|는데|대신)(?=\s)", r"\1,"),
)
_KOREAN_NEGATION = re.compile(r"없|않|아니|아닙|안\s+보|말고|대신|(?<=지\s)못|(?<=지)못")
