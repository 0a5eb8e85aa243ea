"""Korean as Korean has it: particles that fit their word, counters that fit their thing, and yes or no read aright."""

from __future__ import annotations

import re
from functools import lru_cache

_FIRST, _LAST = 0xAC00, 0xD7A3  # 가 to 힣; a syllable's index modulo 28 is its final consonant, 0 is none
_RIEUL = 8
_SPOKEN = dict(zip("0123456789", "영일이삼사오육칠팔구", strict=True)) | {
    "l": "엘", "m": "엠", "n": "엔", "r": "알",  # the Latin letters whose names end in a consonant
}  # fmt: skip
_ONES = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
_ONES_BEFORE = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
COUNTERS = {
    "공": "개", "집": "채", "나무": "그루", "자동차": "대", "배": "척", "꽃": "송이", "버섯": "송이", "고양이": "마리",
    "사람": "명", "개": "마리", "새": "마리", "책": "권", "종이": "장",
}  # fmt: skip
"""What each noun is counted in; everything else is counted in 개."""


def final_consonant(word: str) -> int:
    """Index of the final consonant of the last sound of a word, 0 where it ends in a vowel.

    Brackets, quotes and other marks at the end aren't spoken; digits and Latin letters are read by their names.

    >>> final_consonant("집"), final_consonant("나무"), final_consonant("표시 3"), final_consonant("(공)")
    (17, 0, 16, 21)
    """
    for sound in reversed(word):
        syllable = _SPOKEN.get(sound.lower(), sound)[-1]
        if _FIRST <= ord(syllable) <= _LAST:
            return (ord(syllable) - _FIRST) % 28
        if sound.isalnum():
            return 0
    return 0


@lru_cache(maxsize=4096)
def with_particle(word: str, pair: str) -> str:
    """A word with the form of a particle that fits it.

    >>> with_particle("집", "은/는"), with_particle("고양이", "은/는")
    ('집은', '고양이는')
    >>> with_particle("물", "으로/로"), with_particle("눈밭", "으로/로")
    ('물로', '눈밭으로')

    Args:
        word: what the particle follows.
        pair: both forms, the one after a consonant first: `은/는`, `이/가`, `을/를`, `과/와`, `으로/로`, `이나/나`,
            `입니다/입니다` or any other.

    Raises:
        ValueError: `pair` isn't two forms.
    """
    after_consonant, slash, after_vowel = pair.partition("/")
    if not slash:
        raise ValueError(f"{pair!r} is no pair of forms; expected such as '은/는'")
    final = final_consonant(word)
    closed = final != 0 and not (final == _RIEUL and after_consonant.startswith("으로"))
    return word + (after_consonant if closed else after_vowel)


def numeral(n: int, before_counter: bool = False) -> str:
    """A native numeral, 1 to 99.

    >>> numeral(3), numeral(3, before_counter=True), numeral(20, before_counter=True), numeral(21)
    ('셋', '세', '스무', '스물하나')

    Raises:
        ValueError: there is no native numeral for it.
    """
    if not 1 <= n <= 99:
        raise ValueError(f"{n} has no native numeral; expected 1 to 99")
    tens, ones = divmod(n, 10)
    if before_counter and n == 20:
        return "스무"
    return _TENS[tens] + (_ONES_BEFORE if before_counter else _ONES)[ones]


def counted(noun: str, n: int) -> str:
    """A noun with its number and counter.

    >>> counted("고양이", 2), counted("자동차", 1), counted("구름", 3)
    ('고양이 두 마리', '자동차 한 대', '구름 세 개')
    """
    return f"{noun} {numeral(n, before_counter=True)} {COUNTERS.get(noun, '개')}"


def read_numeral(text: str) -> int | None:
    """The number that a short text holds: digits, native or Sino-Korean numerals, or a word for none; None for no number.

    >>> read_numeral("세 개"), read_numeral("2개입니다."), read_numeral("하나도 없습니다"), read_numeral("많아요")
    (3, 2, 0, None)
    """
    if re.search(r"하나도\s*없|한\s*\w+도\s*없|(?<![가-힣])(없|영(?![가-힣]))", text):
        return 0
    if digits := re.search(r"\d+", text):
        return int(digits[0])
    found = re.search(_NUMERALS, text)
    return _NUMBER_OF[found[1]] if found else None


_NUMBER_OF = {
    **{name: n for n in range(99, 0, -1) for name in (numeral(n), numeral(n, before_counter=True))},
    **dict(zip("일이삼사오육칠팔구십", range(1, 11), strict=True)),
}
_NUMERALS = re.compile(
    rf"(?<![가-힣])({'|'.join(sorted(_NUMBER_OF, key=len, reverse=True))})"
    rf"(?=$|\s*(?:{'|'.join(sorted(set(COUNTERS.values()), key=len, reverse=True))}|가지)|입니다|이에요|예요|이다|[.,!\s])"
)
_YES = re.compile(r"(네|예|넵|응|맞습니다|맞아요|맞다|그렇습니다|그래요|그럼요)(?=$|[\s,.!~])")
_FOUR = re.compile(rf"네\s+(?:{'|'.join(sorted(set(COUNTERS.values()), key=len, reverse=True))})")
_NO = re.compile(r"(아니요|아니오|아뇨|아닙니다|아니에요|아니|틀렸습니다|틀려요|그렇지\s*않)")
_NEGATED = re.compile(r"없(습니다|어요|다|네요|고|는)|않(습니다|아요|다|네요|고|은)|아닙니다|아니에요|안\s+보")
_UNSURE = re.compile(r"모르|알\s*수\s*없|말할\s*수\s*없|판단(할|하기)|확실(하지|치)\s*않|분명(하지|치)\s*않")
_AFFIRMED = re.compile(r"있(습니다|어요|다|네요)|보입니다|보여요|맞습니다|맞아요")


def yes_no(text: str) -> bool | None:
    """What a Korean answer to a yes-or-no question says; None where it says neither, which is never taken for yes.

    The first word decides; without 네, 예 or 아니요 the verb of the first sentence does.

    >>> yes_no("아니요, 고양이는 없습니다."), yes_no("네."), yes_no("네 마리입니다."), yes_no("예쁜 집입니다.")
    (False, True, None, None)
    >>> yes_no("고양이가 보이지 않습니다."), yes_no("공이 있어요"), yes_no("")
    (False, True, None)
    """
    text = text.strip(" \t\n\"'“”‘’([*")
    if _NO.match(text):
        return False
    if _YES.match(text) and not _FOUR.match(text):
        return True
    first = re.split(r"[.!?\n]", text, maxsplit=1)[0]
    if _UNSURE.search(first):
        return None
    if _NEGATED.search(first):
        return False
    return True if _AFFIRMED.search(first) else None
