"""Reads claims out of Korean: words with their particles, clause by clause; the verb comes last and decides."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from limbeck.korean import COUNTERS, read_numeral
from limbeck.questions.claims import ANYTHING, STRANGER, Claim

_KINDS = {
    "ball": "공", "house": "집", "tree": "나무", "car": "자동차|차", "boat": "배|보트|돛단배", "flower": "꽃", "mushroom": "버섯",
    "cat": "고양이", "sun": "해|태양", "moon": "달", "star": "별", "cloud": "구름", ANYTHING: "것|물건|사물",
}  # fmt: skip
_STRANGERS = """
    사람 아이 남자 여자 소년 소녀 아기 강아지 새 말 양 소 곰 토끼 쥐 물고기 오리 버스 트럭 기차 자전거 오토바이 비행기 의자 책상
    탁자 소파 침대 우산 가방 모자 연 병 컵 그릇 바나나 사과 케이크 피자 책 시계 꽃병 전화기 전등 울타리 다리 길 도로 산 언덕 강 성
    탑 교회 텐트 깃발 풍선 무지개 눈사람 나비 벌 용 로봇 로켓 바위 돌 등대 풍차 그네 미끄럼틀
"""
_COLOURS = {
    "red": "빨간색|빨간|빨강|붉은", "orange": "주황색|주황", "yellow": "노란색|노란|노랑", "green": "초록색|초록|녹색",
    "blue": "파란색|파란|파랑|푸른", "purple": "보라색|보라", "pink": "분홍색|분홍", "brown": "갈색",
    "black": "검은색|검정|검은", "white": "흰색|하얀|흰", "grey": "회색",
}  # fmt: skip
_PLACES = {"left": "왼쪽|왼편", "middle": "가운데|한가운데|중앙", "right": "오른쪽|오른편"}
_SETTINGS = {
    ("ground", "grass"): "풀밭|잔디밭", ("ground", "sand"): "모래밭|모래", ("ground", "snow"): "눈밭",
    ("ground", "water"): "물|바다|호수", ("time", "day"): "낮|대낮|한낮", ("time", "sunset"): "해질녘|노을|저녁",
    ("time", "night"): "밤|한밤", ("weather", "clear"): "맑은|맑음|맑습니다|맑고|맑아요|맑다", ("weather", "rainy"): "비|빗방울",
    ("weather", "cloudy"): "흐린|흐림|흐립니다|흐리고|흐려요|흐리다",
}  # fmt: skip
_PARTICLE = r"(?P<p>은|는|이|가|을|를|과|와|의|에는|에서|에|도|만|인|이고|이며|이나|나|보다|까지|입니다|이에요|예요|이다|로|으로|이라고|라고|한테|처럼|뿐입니다|뿐이다|뿐이에요|들이|들은|들|이지만)?"
_HEDGE = re.compile(r"것 같|수도 있|아마|[을를]지도|만약|라면|다면|상상|듯하|겠")
_VERB_NO = re.compile(r"없|않|아니|아닌|아닙|아뇨|못")
_GOES_ON = re.compile(
    r"(있고|없고|있으며|없으며|있지만|없지만|있으니|않고|이고|이며|이지만|지만|하고|서고|습니다만|아니라|아닌|(?:라|아|어|여|려|해|와|워|져|러)서"
    r"|(?<!장)(?<!화)(?<!표)(?<!측)면)$"
)
"""Verbs after which another clause comes."""
_SUBJECT = ("은", "는", "이", "가")
_WITH = ("과", "와")
_COUNTER = re.compile(rf"(?:{'|'.join(sorted({*COUNTERS.values(), '개'}, key=len, reverse=True))})")


def _table(words: dict) -> list[tuple[object, re.Pattern[str]]]:
    return [(value, re.compile(rf"(?:{forms}){_PARTICLE}$")) for value, forms in words.items()]


_NOUNS = _table(_KINDS) + _table({STRANGER + s: s for s in _STRANGERS.split()})
_HUES, _SPOTS, _SETS = _table(_COLOURS), _table(_PLACES), _table(_SETTINGS)


def claims_of(text: str) -> list[Claim]:
    """The claims of a Korean text, in order."""
    text = re.sub(r"[\[(][\d.,\s-]+[\])]", " ", text).replace("해 질 녘", "해질녘").replace("해질 녘", "해질녘")
    text = re.sub(r"눈(으로 덮|이 쌓)", r"눈밭 \1", text)
    claims: list[Claim] = []
    topic: list[str] = []
    sentences = [s for s in re.findall(r"[^.!?\n]+[.!?\n]?", text) if s.strip(" .!?\n")]
    for number, sentence in enumerate(sentences):
        for words in _clauses(sentence):
            clause = _Clause(words, topic)
            topic = clause.topic
            said = " ".join(words)
            hedged = bool(_HEDGE.search(said)) or words[-1].endswith("면")
            if not sentence.endswith("?"):
                claims += [replace(claim, sentence=number, hedged=hedged) for claim in clause.claims]
    return claims


class _Word(str):
    """A word; `pause` where a comma follows it."""

    pause = False


def _clauses(sentence: str) -> list[list[_Word]]:
    """Words of each clause; a clause ends with a verb that goes on (-고, -며, -지만, -으니, -서, -면, 아니라)."""
    clauses: list[list[_Word]] = [[]]
    for word in re.findall(r"[가-힣A-Za-z0-9]+|,", sentence):
        last = clauses[-1]
        if word == "," and last:
            last[-1].pause = True
        if word != ",":
            last.append(_Word(word))
            if _GOES_ON.search(word):
                clauses.append([])
        elif (
            last
            and (
                re.search(r"(고|며|지만|으니|니)$", last[-1])
                or last in (["네"], ["예"], ["아니요"])
                # "the flower on the left, the house on the right": each has its subject and its place
                or (
                    _match(_SPOTS, last[-1])
                    and any(p in ("은", "는") for w in last[:-1] if (m := _match(_NOUNS, w)) for p in m[1:])
                )
            )
        ):
            clauses.append([])
    return [clause for clause in clauses if clause and clause not in (["네"], ["예"], ["아니요"], ["아니오"])]


def _match(table: list[tuple[object, re.Pattern[str]]], word: str) -> tuple[object, str] | None:
    for value, pattern in table:
        if found := pattern.match(word):
            return value, found["p"] or ""
    return None


class _Clause:
    """One clause: things named, each with what stood before it, and what the verb at the end makes of them.

    Attributes:
        claims: what it says.
        topic: what the next clause speaks of where it names nothing.
    """

    def __init__(self, words: list[_Word], topic: list[str]) -> None:
        self.words, self.topic = words, topic
        self.things: list[tuple[str, dict[str, str], str]] = []  # kind, attributes, particle
        self.claims: list[Claim] = []
        self.having: dict[str, str] = {}
        self.predicate: dict[str, str] = {}
        self.place = self.order = ""
        self.place_first = False
        self.sizes: list[str] = []
        if "있지는" not in words:  # "not in both": which one lacks it isn't said
            self._read()

    def _read(self) -> None:
        negated = bool(_VERB_NO.search(" ".join(self.words[-2:])))
        for i, word in enumerate(self.words):
            self._take(
                i,
                word,
                self.words[i - 1] if i else _Word(),
                self.words[i + 1] if i + 1 < len(self.words) else "",
                negated,
            )
        self._close(negated)
        subjects = self._subjects()
        if subjects and subjects != [ANYTHING]:
            self.topic = subjects
        elif self.things:
            self.topic = [self.things[-1][0]]

    def _take(self, i: int, word: str, before: _Word, following: str, negated: bool) -> None:
        if (hue := _match(_HUES, word)) is not None:
            value, particle = hue
            if particle in ("입니다", "이고", "이며", "이에요", "예요", "이다", "이지만") or (
                following and _VERB_NO.match(following)
            ):
                self.predicate["colour"] = str(value)
            else:
                self.having["colour"] = str(value)
        elif re.fullmatch(r"큰|커다란|작은|조그만", word):
            self.having["size"] = "big" if word.startswith(("큰", "커")) else "small"
            self.sizes.append(self.having["size"])
        elif re.match(r"(큽니다|커요|크고|크다|크지|작습니다|작아요|작고|작다|작지)", word):
            self.predicate["size"] = "big" if word[0] in "큽커크" else "small"
        elif re.match(r"(왼쪽|오른쪽)(에서)?부터", word):
            self.order = "left" if word.startswith("왼") else "right"
        elif (spot := _match(_SPOTS, word)) is not None:
            self._spot(str(spot[0]), spot[1], before, negated)
        elif word.startswith("사이") and len(self.things) >= 2:
            self.claims.append(Claim("between", "", other=self.things[-2][0], third=self.things[-1][0]))
        elif (setting := _match(_SETS, word)) is not None and not (
            word.startswith("비") and not following and len(word) > 3
        ):
            (name, value), particle = setting  # type: ignore[misc]
            self.having = {}  # "green grass"
            if not (value == "rainy" and particle in ("을", "를")):  # to flee from rain isn't to say that it rains
                self.claims.append(Claim("setting", "", {name: value}, negated=negated and name != "ground"))
        elif re.match(r"흐[리린림립려]", word):
            self.claims.append(Claim("setting", "", {"weather": "cloudy"}, negated=negated))
        elif (noun := _match(_NOUNS, word)) is not None:
            self._noun(str(noun[0]), noun[1])
        elif _COUNTER.match(word) and (count := read_numeral(f"{before} {word}")) is not None:
            self._count(i, word, count)
        elif re.match(r"(높|많)", word):
            self._compare(word, negated)

    def _count(self, i: int, word: str, count: int) -> None:
        """A number with a counter: of the thing right before it that is counted so, else of all things together."""
        named = _match(_NOUNS, self.words[i - 2]) if i > 1 else None
        counter = COUNTERS.get(_KINDS.get(str(named[0]), "").partition("|")[0], "개") if named else ""
        if self.things and named and not self.words[i - 2].pause and word.startswith(counter):
            kind, having, _ = self.things[-1]
            self.things[-1] = (kind, having, re.sub(_COUNTER, "", word, count=1))
            if count > 1:
                self.claims.append(Claim("count", kind, having, value=count))
        elif word.startswith("개") and (count > 1 or not self.things):
            self.claims.append(Claim("count", ANYTHING, self.having if not self.things else {}, value=count))
            self.having = {}  # "two are red"

    def _subjects(self) -> list[str]:
        """What the clause speaks of: the thing with a subject's particle, and those joined to it by 과 or 와."""
        at = next((i for i, (_, _, p) in enumerate(self.things) if p in _SUBJECT), None)
        if at is None:
            return []
        first = at
        while first and self.things[first - 1][2] in _WITH:
            first -= 1
        return [kind for kind, _, _ in self.things[first : at + 1]]

    def _spot(self, side: str, particle: str, before: _Word, negated: bool) -> None:
        bare = self.things and not before.pause and (_match(_NOUNS, before) or ("", "?"))[1] == ""  # "the cat's left"
        reference = next((k for k, _, p in self.things[-1:] if p in ("의", "보다") or bare), "")
        if reference and (bare or re.search(r"(의|보다)$|^더$", before)) and side != "middle":
            subjects = [kind for kind in self._subjects() if kind != reference]
            for subject in subjects or [""]:
                self.claims.append(Claim("beside", subject, other=reference, value=side, negated=negated))
        elif particle == "의":
            self.having["place"] = side  # "the ball on the left"
        elif before != "더":
            self.place, self.place_first = side, not self.things

    def _noun(self, kind: str, particle: str) -> None:
        having, self.having = self.having, {}
        if self.place and self.place_first:
            having, self.place = {**having, "place": self.place}, ""
        self.things.append((kind, having, particle))

    def _compare(self, word: str, negated: bool) -> None:
        if word.startswith("높"):
            higher = next((k for k, _, p in self.things if p in _SUBJECT), "")
            lower = next((k for k, _, p in self.things if p == "보다"), "")
            if higher and lower:
                self.claims.append(Claim("taller", higher, other=lower, negated=negated))
        elif len(self.sizes) == 2 and any(p == "보다" for _, _, p in self.things):
            self.things = []  # "more small things than big ones" names none of them
            self.claims.append(Claim("more", "", other=self.sizes[1], value=self.sizes[0], negated=negated))
        elif len(self.sizes) == 1 and "더" in self.words:
            self.claims.append(
                Claim("more", "", other="small" if self.sizes[0] == "big" else "big", value=self.sizes[0])
            )

    def _close(self, negated: bool) -> None:
        relations, self.claims = self.claims, []
        absent = negated and not self.predicate and not self.place
        whole = next((i for i, (_, _, p) in enumerate(self.things) if p in _SUBJECT), len(self.things) - 1)
        all_denied = absent and len(self.things) > 1 and all(p == "도" for _, _, p in self.things)
        for i, (kind, having, _) in enumerate(self.things):
            if kind == ANYTHING and not having:
                continue
            if self.place and i == whole and not negated:
                having = {**having, "place": self.place}
            denied = absent and (i == whole or all_denied) and not relations
            self.claims.append(Claim("there", kind, having, negated=denied))
        subjects = self._subjects() or ([self.things[whole][0]] if self.things else self.topic)
        if any(word.startswith("비어") for word in self.words):
            subjects, self.predicate = [ANYTHING], {}
            self.claims += [Claim("there", ANYTHING, {"place": self.place}, negated=True)] if self.place else []
        elif self.place and not self.things:
            self.claims += [Claim("is", kind, {"place": self.place}, negated=negated) for kind in subjects]
        elif self.place and negated:
            self.claims += [Claim("is", kind, {"place": self.place}, negated=True) for kind in subjects]
        elif self.place:
            self.claims += [Claim("is", kind, {"place": self.place}) for kind in subjects[:-1]]
        if self.predicate:
            for kind in subjects:
                for one in [{k: v} for k, v in self.predicate.items()] if negated else [self.predicate]:
                    self.claims.append(Claim("is", kind, one, negated=negated))
        self._equate(whole, negated)
        for claim in relations:
            if claim.about in ("beside", "between") and not claim.kind:
                others = [k for k, _, p in self.things if p in _SUBJECT and k not in (claim.other, claim.third)]
                others = others or [k for k in self.topic if k not in (claim.other, claim.third)]
                claim = replace(claim, kind=others[0] if others else "")
            self.claims.append(claim)
        kinds = [kind for kind, _, _ in self.things if kind != ANYTHING] if self.order else []
        self.claims += [Claim("beside", a, other=b, value=self.order) for a, b in pairwise(kinds)]

    def _equate(self, whole: int, negated: bool) -> None:
        """What is said of "the red thing" that is a house is said of the house."""
        if negated or not self.things or self.things[whole][0] != ANYTHING:
            return
        _, having, _ = self.things[whole]
        for kind, _, _ in self.things[whole + 1 :]:
            if having and kind != ANYTHING:
                self.claims.append(Claim("is", kind, having))
