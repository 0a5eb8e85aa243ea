"""Answers read back into values. Oracle: what a person takes each of them to say, by hand."""

from __future__ import annotations

import json

import pytest

from limbeck.questions.reading import NOTHING, coordinates, number, yes_no
from limbeck.questions.scoring import is_right, value_of
from limbeck.turns import assistant, user


def row(question, value, template, answer_type="sentence", language="en"):
    return {
        "messages": [user(0, question), assistant("?")], "answer_value": json.dumps(value), "answer_type": answer_type,
        "template": template, "question_type": template.split(".")[0], "language": language, "options": [],
    }  # fmt: skip


def asked(question, language="en"):
    return row(question, True, "existence.random", "yes_no", language)


CAT = "Is there a cat in the picture? Answer yes or no."
RED = "Is the ball red? Answer yes or no."
TALLER = "Is the ball taller than the house in the picture?"
KOREAN_CAT = "그림에 고양이가 있나요? 네 또는 아니요로만 답하세요."
KOREAN_LEFT = "고양이가 집의 왼쪽에 있나요?"


@pytest.mark.parametrize(
    ("question", "text", "said"),
    [
        (CAT, "There is a cat.", True), (CAT, "There are two cats.", True), (CAT, "It is.", True), (CAT, "I see a tree and a cat.", True),
        (CAT, "A tree, a house, and a cat.", True), (CAT, "The picture shows a cat on the left.", True),
        (CAT, "A house.", None), (CAT, "A house and a tree.", None), (CAT, "It is a ball.", None), (CAT, "A photo.", None),
        (CAT, "A cat could be there.", None), (CAT, "There is a cat or a dog.", None), (CAT, "Yes or no", None),
        (RED, "The ball is red.", True), (RED, "It's red.", True), (RED, "It is red, not blue.", True),
        (RED, "The ball is blue.", None), (RED, "It is blue.", None), (RED, "The house is red.", None),
        (RED, "The ball is blue and the house is red.", None),
        ("Is there a red ball?", "A red house and a ball.", None), ("Is there a red ball?", "There is a red ball here.", True),
        ("Is it day?", "It is night.", None), ("Is it day?", "It is day.", True),
        (TALLER, "The house is.", None), (TALLER, "The house is taller than the ball.", None), (TALLER, "The ball is taller than the house.", True),
        ("Are there any people on the bus?", "There is a person on the bus.", True),
        ("Is the cat on the bus?", "The cat is under the bus.", None),
    ],
)  # fmt: skip
def test_a_sentence_is_a_yes_where_it_names_what_was_asked_about(question, text, said):
    """Oracle: by hand: a true sentence about something else answers nothing."""
    assert value_of(asked(question), text) is said


@pytest.mark.parametrize(
    ("question", "text", "said"),
    [
        (CAT, "There is a cat, but no dog.", True), (CAT, "There is a dog, but no cat.", False),
        (CAT, "There is no dog, but a cat.", True), (CAT, "A cat without a hat.", True), (CAT, "A house without a cat.", False),
        (CAT, "I see a cat; I don't see a dog.", True), (CAT, "I see a dog; I don't see a cat.", False),
        (CAT, "I don't think there is a cat.", False), (CAT, "There isn't a cat visible here.", False), (CAT, "There isn't.", False),
        (CAT, "The cat is missing.", False), (CAT, "The dog isn't there.", None), (CAT, "There is no red cat.", None),
        (CAT, "No, there is a dog.", False), (CAT, "No it is a dog", False), (CAT, "A cat? No.", False), (CAT, "Not that I can see.", False),
        (RED, "The ball isn't red.", False), (RED, "It is not blue.", None), (RED, "The house isn't red.", None),
        (RED, "The ball isn't big.", None), (RED, "There is no ball.", False),
        ("Is the cat on the left?", "It isn't on the right.", None), ("Is the cat on the left?", "It isn't on the left.", False),
    ],
)  # fmt: skip
def test_a_denial_is_a_no_where_it_denies_what_was_asked_about(question, text, said):
    """Oracle: by hand: what else isn't there answers nothing."""
    assert value_of(asked(question), text) is said


@pytest.mark.parametrize(
    ("question", "text", "said"),
    [
        (KOREAN_CAT, "고양이가 있습니다.", True), (KOREAN_CAT, "왼쪽에 고양이 한 마리가 보여요.", True), (KOREAN_CAT, "있습니다.", True),
        (KOREAN_CAT, "집이 있습니다.", None), (KOREAN_CAT, "개는 없습니다.", None), (KOREAN_CAT, "없습니다.", False),
        (KOREAN_CAT, "고양이는 한 마리도 없습니다.", False), (KOREAN_CAT, "고양이는 있지만 개는 없습니다.", True),
        (KOREAN_CAT, "개는 있지만 고양이는 없습니다.", False), (KOREAN_CAT, "아니요, 집이 있습니다.", False),
        (KOREAN_CAT, "고양이가 있는지 알 수 없습니다.", None),
        (KOREAN_LEFT, "고양이가 집의 왼쪽에 있습니다.", True), (KOREAN_LEFT, "집이 고양이의 왼쪽에 있습니다.", None),
        ("공은 빨간색인가요?", "빨간색이 아닙니다.", False), ("공은 빨간색인가요?", "파란색이 아닙니다.", None),
    ],
)  # fmt: skip
def test_korean_sentences_say_yes_or_no_by_the_same_rules(question, text, said):
    """Oracle: by hand."""
    assert value_of(asked(question, "ko"), text) is said


def test_who_does_not_know_the_question_takes_no_sentence_for_a_yes():
    """Oracle: by hand: the filter asks without the question, and a first clause that states something is no denial."""
    read = {text: yes_no(text, "en") for text in ("There is a cat.", "It is red, not blue.", "It is.", "There is no cat; it shows a ball.")}  # fmt: skip
    assert list(read.values()) == [None, None, True, False]
    assert [yes_no(text, "ko") for text in ("집이 있습니다.", "고양이는 없습니다. 그림에는 공이 있습니다.", "있습니다.")] == [
        None, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It is not red.", None), ("The ball isn't red.", None), ("I don't know if it is red.", None), ("Neither red nor blue.", None),
        ("It is red, not blue.", "red"), ("It isn't blue, it's red.", "red"), ("Not blue but red", "red"),
        ("Red rather than blue.", "red"), ("Red, without a doubt.", "red"), ("No, it is red.", "red"),
        ("빨간색이 아닙니다.", None), ("파란색이 아니라 빨간색입니다.", "red"), ("파란색 말고 빨간색", "red"), ("빨간색이고 파란색이 아닙니다.", "red"),
        ("아니요 빨간색입니다.", "red"),
    ],
)  # fmt: skip
def test_a_value_that_is_denied_is_not_said(text, said):
    """Oracle: by hand."""
    question, language = ("What colour is the ball?", "en") if text.isascii() else ("공은 무슨 색인가요?", "ko")
    found = value_of(row(question, "red", "attribute.colour", language=language), text)
    assert found == said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("not two", None), ("It isn't two, it is three.", 3), ("No, there are three.", 3), ("no more than three", None),
        ("none", 0), ("No", 0), ("There are no balls.", 0), ("I count none; the picture shows a red ball.", 0),
        ("두 개가 아닙니다.", None), ("두 개가 아니라 세 개입니다.", 3), ("하나도 없습니다.", 0), ("두 개밖에 없습니다.", 2),
    ],
)  # fmt: skip
def test_a_number_that_is_denied_is_not_said_and_none_is_a_number(text, value):
    """Oracle: by hand."""
    assert number(text, "en" if text.isascii() else "ko") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("There is no cat; the picture shows a red ball.", NOTHING), ("There is a red ball and a house, no cat.", NOTHING),
        ("No.", NOTHING), ("None", NOTHING), ("It doesn't exist.", NOTHING), ("No, the ball is red.", NOTHING),
        ("It is red, not blue.", "red"), ("The cat is red, there is no dog.", "red"), ("No, it's red.", "red"),
        ("It isn't blue, it's red.", "red"), ("It isn't red.", None), ("I can't tell.", None), ("", None),
        ("고양이는 없습니다. 그림에는 빨간 공 한 개가 있습니다.", NOTHING), ("아니요.", NOTHING), ("아니요, 빨간색입니다.", "red"),
        ("빨간색이고 파란색이 아닙니다.", "red"), ("빨간색이 아닙니다.", None), ("모르겠습니다.", None),
    ],
)  # fmt: skip
def test_who_names_a_value_accepts_a_false_premise_whatever_else_they_deny(text, said):
    """Oracle: by hand: the cat isn't there, and only who says so is right."""
    question, language = ("What colour is the cat?", "en") if text.isascii() else ("고양이는 무슨 색인가요?", "ko")
    premise = row(question, None, "false_premise.colour", language=language)
    found = value_of(premise, text)
    assert found == said
    assert is_right(premise, found) == (said == NOTHING)


def test_numbers_of_boxes_and_points_need_no_leading_zero():
    """Oracle: by hand; captions of the short prompts write boxes like this."""
    assert coordinates("[.1, .2, .5, .6]", 4) == [0.1, 0.2, 0.5, 0.6]
    assert coordinates("It is at (-.5, 1.).", 2) == [-0.5, 1.0]
    assert coordinates("[0.125, 1, 0.5, .75]", 4) == [0.125, 1.0, 0.5, 0.75]
    box = row("Give the bounding box of the cat.", [0.1, 0.2, 0.5, 0.6], "region.box", "box")
    assert is_right(box, value_of(box, "[.1, .2, .5, .6]"))
