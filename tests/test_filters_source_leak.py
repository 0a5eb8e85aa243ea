"""Source leaks. Oracle: sentences judged by hand, some of them after LRV's and LLaVA's own published answers."""

import pytest
from question_rows import DirectRun, made, storybook

from filters.source_leak import SourceLeak
from limbeck.turns import assistant, user


def leak(text, kind="conversation"):
    row = {"id": "a", "messages": [user(0, "What is here?"), assistant(text)], "question_type": kind}
    stage = SourceLeak()
    return stage.decide({"id": "a", **stage.score([row], DirectRun())[0]})


@pytest.mark.parametrize(
    "text",
    [
        "There is no mention of a dog in the image.",
        "Based on the caption, the man rides a horse.",
        "According to the provided description, it is night.",
        "The bounding box of the cat is small.",
        "The color of the car is not specified.",
        "As an AI language model, I cannot see the image.",
        "The annotations list two boats.",
        "Its coordinates are near the centre.",
        "The given text does not mention the weather.",
        "캡션에 따르면 집이 있습니다.",
        "제공된 정보에는 고양이가 없습니다.",
        "바운딩 박스의 위치로 보아 왼쪽입니다.",
        "색은 언급되어 있지 않습니다.",
        "설명에 따르면 밤입니다.",
    ],
)
def test_leaks(text):
    assert leak(text) == ("source_leak",)


@pytest.mark.parametrize(
    "text",
    [
        "A red box stands on the table.",
        "There is no cat; the picture shows a red ball.",
        "The sign gives information for visitors.",
        "The cat is in the middle of the image.",
        "She lists three flowers.",
        "고양이는 없습니다. 그림에는 빨간 공 한 개가 있습니다.",
        "상자가 왼쪽에 있습니다.",
    ],
)
def test_plain_answers(text):
    assert leak(text) == ()


def test_boxes_may_be_spoken_of_where_they_are_asked_for():
    assert leak("The ball is in the box [0.1, 0.2, 0.3, 0.4].", "region") == ()
    assert leak("The ball is in the box [0.1, 0.2, 0.3, 0.4].", "count") == ("source_leak",)


def test_what_programs_word_leaks_nothing():
    from generators.visual_questions import VisualQuestions

    rows = made(VisualQuestions(pictures=False), storybook(40))
    assert [row for row in SourceLeak().score(rows, DirectRun()) if row["leak"]] == []


def test_allowed_pieces():
    row = {"leak": "Caption"}
    assert SourceLeak().decide(row) == ("source_leak",)
    assert SourceLeak(allow=("caption",)).decide(row) == ()
