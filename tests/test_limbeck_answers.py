"""What is read out of answers, and refused: cases written by hand after what models really send."""

from __future__ import annotations

import pyarrow as pa
import pytest

from limbeck.answers import fold, is_refusal, junk, read_object, script


@pytest.mark.parametrize(
    "text",
    [
        '{"edit": "add a hat", "n": 1}',
        '```json\n{"edit": "add a hat", "n": 1}\n```',
        '<think>maybe {"edit": "no"}</think>\n{"edit": "add a hat", "n": 1}',
        'Here you are: {"edit": "add a hat", "n": 1} I hope it helps! {"edit": "other"}',
        '{"edit": "add a hat",\n "n": 1}',
    ],
)
def test_the_object_is_found(text):
    assert read_object(text) == {"edit": "add a hat", "n": 1}


@pytest.mark.parametrize(
    "text",
    ["", "add a hat", '{"edit": "add a', "<think>{} never ends", '{"edit": add}', "null", '{"edit": ' + "[" * 100_000],
)
def test_no_object_no_answer(text):
    with pytest.raises(ValueError, match="JSON"):
        read_object(text)


def test_half_a_surrogate_pair_fits_into_a_column():
    found = read_object(r'{"edit": "add a hat \ud83d", "more": ["\ud83d\ude00", {"\udc00": 1}]}')
    assert found == {"edit": "add a hat \ufffd", "more": ["\U0001f600", {"\ufffd": 1}]}
    assert pa.array([found["edit"]])[0].as_py() == found["edit"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("make it <b>blue</b>", "<b>"),
        ("add a hat &amp; a scarf", "&amp;"),
        ("line\\nbreak", "\\n"),
        ("add a $thing", "$thing"),
        ("change the price to $20", None),
        ("add a {thing}", "{thing}"),
        ("see https://x.org", "https://"),
        ("bell\x07", "\x07"),
        ("<|im_end|>", "<|"),
        ("half a pair \ud83d", "\ud83d"),
        ("a cat & a dog, 3 < 4 > 2", None),
        ("make it 50% larger, isn't it?", None),
        ("나무를 빨간색으로 바꿔", None),
    ],
)
def test_junk(text, found):
    assert junk(text) == found
    assert junk(text, known=text) is None


def test_scripts_and_folding():
    assert [script(t) for t in ("Ωmega αβγ", "красный дом", "赤い家", "红房子", "!?")] == [
        "GREEK", "CYRILLIC", "CJK", "CJK", None,
    ]  # fmt: skip
    assert fold("A Red  House!") == fold(" a red house.") != fold("a blue house")


def test_refusals_open_the_answer():
    assert all(is_refusal(t) for t in ("I can't help with that.", "I’m sorry, no", '"I am unable to do this"'))
    assert not any(is_refusal(t) for t in ('{"edit": "I\'m sorry sign"}', "a dog that can't swim"))
