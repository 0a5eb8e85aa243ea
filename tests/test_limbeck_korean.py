"""Korean. Oracles: forms that a reader of Korean gives, and POPE's own parsing mistakes turned round."""

import re

import pytest

from limbeck.korean import COUNTERS, counted, numeral, read_numeral, with_particle, yes_no
from limbeck.questions import english, hangul
from limbeck.questions.template import pieces


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("집", "집은 집이 집을 집과 집으로 집이나"), ("나무", "나무는 나무가 나무를 나무와 나무로 나무나"),
        ("물", "물은 물이 물을 물과 물로 물이나"), ("공 한 개", "공 한 개는 공 한 개가 공 한 개를 공 한 개와 공 한 개로 공 한 개나"),
        ("3", "3은 3이 3을 3과 3으로 3이나"), ("2", "2는 2가 2를 2와 2로 2나"), ("1", "1은 1이 1을 1과 1로 1이나"),
        ("(꽃)", "(꽃)은 (꽃)이 (꽃)을 (꽃)과 (꽃)으로 (꽃)이나"), ("TV", "TV는 TV가 TV를 TV와 TV로 TV나"),
    ],
)  # fmt: skip
def test_particles(word, forms):
    pairs = ("은/는", "이/가", "을/를", "과/와", "으로/로", "이나/나")
    rest, said = forms, []
    for pair in pairs:
        said.append(with_particle(word, pair))
    assert " ".join(said) == rest
    with pytest.raises(ValueError, match="pair"):
        with_particle(word, "은")


def test_numerals_and_counters():
    assert [numeral(n) for n in (1, 2, 3, 10, 11, 20, 99)] == ["하나", "둘", "셋", "열", "열하나", "스물", "아흔아홉"]
    assert [numeral(n, True) for n in (1, 3, 11, 20, 21)] == ["한", "세", "열한", "스무", "스물한"]
    assert [counted(noun, 2) for noun in ("집", "꽃", "배", "나무", "고양이", "자동차", "달")] == [
        "집 두 채", "꽃 두 송이", "배 두 척", "나무 두 그루", "고양이 두 마리", "자동차 두 대", "달 두 개",
    ]  # fmt: skip
    assert set(hangul.KINDS.values()) <= set(COUNTERS)
    for n in range(1, 100):
        assert (
            read_numeral(f"{numeral(n, True)} 개") == read_numeral(f"{numeral(n)}입니다") == read_numeral(f"{n}개") == n
        )
    assert [read_numeral(t) for t in ("없습니다", "하나도 없어요", "한 마리도 없습니다", "많습니다", "")] == [
        0,
        0,
        0,
        None,
        None,
    ]
    for n in (0, 100):
        with pytest.raises(ValueError, match="native"):
            numeral(n)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("네", True), ("네, 있습니다.", True), ("예.", True), ("응", True), ("맞습니다", True), ("네! 집이 없지 않습니다.", True),
        ("아니요", False), ("아니요, 고양이는 있습니다.", False), ("아뇨", False), ("아니오.", False), ("아닙니다.", False),
        ("고양이가 없습니다.", False), ("보이지 않아요", False), ("공이 보입니다", True), ("공이 있어요. 집은 없어요.", True),
        ("", None), ("None", None), ("네 마리입니다.", None), ("예쁜 집입니다.", None), ("모르겠습니다.", None), ("그림만으로는 알 수 없습니다.", None), ("네모난 집", None),
    ],
)  # fmt: skip
def test_yes_and_no(text, value):
    assert yes_no(text) is value


def test_both_languages_have_every_template_and_know_every_slot():
    assert english.TEMPLATES.keys() == hangul.TEMPLATES.keys()
    for words in (english, hangul):
        for name, wording in words.TEMPLATES.items():
            ways = [*wording.questions, *wording.yes, *wording.no, *wording.says, *wording.nothing]
            assert len(wording.questions) >= 2, name
            assert len(set(ways)) == len(ways), name
            assert bool(wording.says) == bool(wording.answer), name
            assert bool(wording.yes) == bool(wording.no) != bool(wording.says), name
            marks = {mark for way in ways for _, _, mark in pieces(way)} - {""}
            assert all("/" in mark for mark in marks) if words is hangul else marks <= {"a", "A", "a_A"}, name


def test_every_particle_in_a_template_hangs_on_a_slot():
    """A bare "은(는)" would be wrong for half of the nouns."""
    for wording in hangul.TEMPLATES.values():
        for way in [*wording.questions, *wording.yes, *wording.no, *wording.says, *wording.nothing]:
            assert "(" not in way
            for before, _, _ in pieces(way)[1:]:
                assert not re.match(r"[은는이가을를과와](\s|$)", before), (way, before)
