"""Yes or no, read from an answer in words.

The first word decides where it is a yes or a no. Without one a sentence says yes where it names all that was asked
about, in the question's order, and no where it denies nothing else: who doesn't know the question can take no sentence
for a yes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from limbeck.korean import yes_no as korean
from limbeck.questions.clauses import Clause, clauses
from limbeck.questions.english import plural


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_BOTH = re.compile(r"(yes|no)\s*(and|or|/)\s*(yes|no)\b", re.IGNORECASE)
_YES = re.compile(r"(yes|yeah|yep|correct|true|indeed|sure)\b", re.IGNORECASE)
_NO = re.compile(
    r"(no|nope|incorrect|false|none)(?=\s*($|[^\w\s])|\s+(it|there|i|the|they|this|that|an?|you|we|not)\b)",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(can(not|['’]?t| not)|could(n['’]?t| not)|hard to|impossible to|not able to|unable to) (be )?(tell|say|know|determine|determined|told|said|answer)\b"
    r"|\b(don['’]?t|do not) know\b|\bnot (sure|certain|clear|possible)\b|\bunclear\b|\bno idea\b",
    re.IGNORECASE,
)
_IT_IS = re.compile(
    r"(there (is|are)( one)?|it (is|does|has)|they (are|do|have)|i (do|can)|i (can )?see (it|one|them))( indeed| here| there)?"
)
"""Affirms without a name."""
_STATES = re.compile(
    r"there('s| is| are)\b|(i|we|you) (can )?see\b|(it|this|that)('s| is| does| has)\b|they (are|have|do)\b|an? "
    r"|(the|this|both)\b.*\b(is|are|has|have|shows?|contains?|stands?)\b"
)
_GUESSES = re.compile(r"\b(maybe|perhaps|possibly|probably|likely|might|may|could|would|should|if|whether|or|seems?)\b")
_PRONOUN = re.compile(r"(it|they)\b")
_OF_A_KNOWN_THING = re.compile(r"\s*(is|are|does|do|has|have|was|were|can) the\b", re.IGNORECASE)
_QUESTION = re.compile(r"(?:[^.!?\n]|\.(?=\d))*\?")
_PICTURE = re.compile(
    r"\b((in|of|on|from) )?(the|this|that) (picture|image|photo|photograph|scene)s?\b|\b(picture|image|photo|scene)s?\b"
)
_PREPOSITIONS = _set("on in at under over above below behind beside between inside near around with from")
_FILLERS = _set("""
    a an the this that these those it its they them i you he she we there here any some anything anywhere such so one
    is are was were be been being am do does did has have had can could will would s to of for than by
    no not see show shows shown look looks appear appears visible present find found call think believe
    really at all exactly quite true say tell colour color stand stands thing things object objects
""")
"""English words that name nothing that is asked about."""
_KOREAN_FILLER = re.compile(
    r"(있|없|않|보이|보여|보입|나오|나옵|나와|맞|아니|아닙|아뇨|그림|사진|이미지|장면|여기)\w*|볼|수|서|것|것이|이|그|저|안|잘|더"
)
_NOT_ONE = re.compile(r"(한\s*(마리|개|명|대|척|채|송이|그루)|하나|아무것|아무|어디에)도")
_PARTICLE = re.compile(
    r"(.+?)(은|는|이|가|을|를|에|에서|에는|에도|도|의|과|와|로|으로|만|보다|입니다|이에요|예요|인가요)"
)


def yes_no(text: str, language: str, question: str = "") -> bool | None:
    """What an answer to a yes-or-no question says, None where it says neither, or both.

    >>> yes_no("Yes, and there are no other people.", "en"), yes_no("NO", "en"), yes_no("", "en"), yes_no("None", "en")
    (True, False, None, False)
    >>> yes_no("There is a cat.", "en"), yes_no("There is a cat.", "en", "Is there a cat?"), yes_no("I see no cat.", "en")
    (None, True, False)
    >>> yes_no("아니요", "ko"), yes_no("집이 있습니다.", "ko", "고양이가 있나요?"), yes_no("Maybe", "en", "Is it day?")
    (False, None, None)

    Args:
        text: what was answered.
        language: `en` or `ko`.
        question: what was asked. Where it isn't known, the first sentence that states or denies something decides: one
            that denies is a no, one that states something is unread.
    """
    text = text.strip(" \t\n\"'“”‘’([*")
    decided, said = _by_its_beginning(text, language)
    if decided:
        return said
    asked = _words(_asked_in(question), language)
    found: set[bool] = set()
    for clause in clauses(_QUESTION.sub("", text), language):
        stated, denied = (_korean if language == "ko" else _english)(clause)
        if not question:
            if stated or denied is not None:
                return None if stated else False
        elif denied is not None and _all_in(denied, asked):
            found.add(False)
        if stated == [] or (question and stated and _named(_about(clause, asked, question), stated)):
            found.add(True)
    return found.pop() if len(found) == 1 else None


def _by_its_beginning(text: str, language: str) -> tuple[bool, bool | None]:
    """Whether the beginning decides, and for what."""
    if language == "ko":
        said = korean(text)
        return said is not None and korean(re.split(r"[\s,.!~]", text, maxsplit=1)[0]) is not None, said
    if _BOTH.match(text):
        return True, None
    if _YES.match(text):
        return True, True
    if _NO.match(text):
        return True, False
    return _UNSURE.search(re.split(r"[.!?\n]", text, maxsplit=1)[0]) is not None, None


def _english(clause: Clause) -> tuple[list[str] | None, list[str] | None]:
    """What a clause names as so, and what it names as not so; None where it doesn't state, or deny, and [] for "it is"."""
    text, before = clause.text.lower(), clause.before.lower()
    named = _words(before, "en")
    states = not clause.of_verb and _STATES.match(before) and not _GUESSES.search(text)
    stated = named if states and named else None
    if not clause.negation:
        return ([] if _IT_IS.fullmatch(text) else stated), None
    if any(part.negation for part in clauses(clause.after, "en")):  # denied twice
        return None, None
    return stated, (named if clause.of_verb else []) + _words(clause.after, "en", up_to_preposition=True)


def _korean(clause: Clause) -> tuple[list[str] | None, list[str] | None]:
    said, named = korean(clause.text), _words(clause.text, "ko")
    return (named if said else None), (named if said is False else None)


def _asked_in(question: str) -> str:
    """The sentence of a prompt that asks."""
    found = _QUESTION.search(question)
    return found[0] if found else question


def _about(clause: Clause, asked: list[str], question: str) -> list[str]:
    """What a clause has to name: all that was asked about, without the thing that its "it" stands for."""
    known = _PRONOUN.match(clause.text.lower()) and _OF_A_KNOWN_THING.match(_asked_in(question))
    return asked[1:] if known else asked


def _words(text: str, language: str, up_to_preposition: bool = False) -> list[str]:
    """The words of a text that name something, in order.

    Args:
        text: a clause or a question.
        language: `en` or `ko`; Korean words come without their particles.
        up_to_preposition: leaves out what follows a preposition that isn't the first of them: "cat on the table".
    """
    if language == "ko":
        words = [
            word for word in re.findall(r"[가-힣\w]+", _NOT_ONE.sub("", text)) if not _KOREAN_FILLER.fullmatch(word)
        ]
        return [found[1] if (found := _PARTICLE.fullmatch(word)) else word for word in words]
    text = _PICTURE.sub(" ", text.lower().replace("n't", " not"))
    words = [word for word in re.findall(r"[a-z0-9]+", text) if word not in _FILLERS]
    if up_to_preposition:
        return words[: next((n for n, word in enumerate(words) if n and word in _PREPOSITIONS), None)]
    return words


def _same(a: str, b: str) -> bool:
    """Whether two words name the same; Korean ones may have a part of a particle left."""
    if a.isascii():
        return a == b or plural(a) == b or plural(b) == a
    return a == b or (min(len(a), len(b)) > 1 and (a.startswith(b) or b.startswith(a)))


def _all_in(words: Sequence[str], others: Sequence[str]) -> bool:
    return all(any(_same(word, other) for other in others) for word in words)


def _named(asked: Sequence[str], words: Sequence[str]) -> bool:
    """Whether words hold all that was asked about, side by side and in that order: a red house and a ball are no red ball."""
    runs = (words[n : n + len(asked)] for n in range(len(words) - len(asked) + 1))
    return bool(asked) and any(all(map(_same, run, asked)) for run in runs)
