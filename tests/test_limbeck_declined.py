"""Refusals in the place of answers. Oracle: sentences written by hand, after what models say when they decline."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from generators.edit_instructions import EditInstructions, _Rejected
from generators.visual_conversations import VisualConversations
from generators.visual_descriptions import VisualDescriptions
from generators.visual_reasoning import VisualReasoning
from limbeck.declined import declines
from limbeck.models.roles import ChatAnswer
from limbeck.questions.context import TASKS, conversation_answer, description_answer, reasoning_answer
from limbeck.questions.written import Rejected

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I’m sorry, I can’t assist with identifying people.",
    "I am sorry. I cannot assist you with this request.",
    "Sorry, I can't do that.",
    "I apologize, but as a text-based model I am not able to view images.",
    "I apologize for the confusion, but I'm unable to see the picture.",
    "I'm very sorry for the inconvenience. Unfortunately, I cannot process this request.",
    "I'm sorry, but that's not possible.",
    "I'm sorry.",
    "I'm unable to describe this image.",
    "I am not able to view, open or describe pictures.",
    "I cannot describe this picture, as I can't see images.",
    "I can't see the image.",
    "I can not see the picture you attached.",
    "I cannot view the contents of this photo directly.",
    "I can't see any image attached.",
    "I don't see an image attached to your message.",
    "I don't have access to the image.",
    "I won't be able to describe this image.",
    "I must decline to answer.",
    "I'm not comfortable describing this person.",
    "I can't identify the people in this photo.",
    "I can't provide a description of this.",
    "I cannot provide that.",
    "Unable to describe the image.",
    "Cannot assist with this.",
    "Unfortunately, I can't access the picture.",
    "As an AI language model, I have no eyes.",
    "I'm just an AI and see nothing.",
    "No image was provided.",
    "There is no picture attached.",
    "This image cannot be displayed.",
    "This request violates our guidelines.",
    '"I cannot comply."',
    "죄송합니다. 도와드릴 수 없습니다.",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
    "죄송합니다만, 도와드리기 어렵습니다.",
    "죄송합니다.",
    "도움을 드릴 수 없습니다.",
    "요청하신 내용은 답변드릴 수 없습니다.",
    "그 요청에는 응할 수 없습니다.",
    "이 그림을 설명할 수 없습니다.",
    "안타깝게도 이 이미지를 설명해 드릴 수 없습니다.",
    "저는 사진을 직접 볼 수 없습니다.",
    "첨부하신 이미지를 확인할 수 없어 답할 수 없습니다.",
    "이미지가 제공되지 않았습니다.",
    "저는 텍스트 기반 모델이라 그림을 볼 수 없습니다.",
    "AI로서 이미지를 볼 수 없습니다.",
)
FAIR = (
    "The sorry dog lies on a sofa.",
    "Sorry, there is no cat; a dog sleeps there.",
    "I'm sorry, but there is no cat in this picture. A red ball lies on the left.",
    "Unfortunately, the ball has rolled into the water.",
    "I can't see a cat in this picture.",
    "I can't see any cat.",
    "I can't see any pictures on the wall.",
    "I don't see any pictures on the wall.",
    "I can't see the picture's frame, only what hangs beside it.",
    "I cannot see the picture on the wall well enough to name its painter.",
    "I'm unable to make out the number on the house.",
    "I can't tell what colour the roof is from here.",
    "I can't answer that from the picture alone, but the ground is wet.",
    "I can't help but notice the red ball.",
    "I can't help smiling: the cat wears a hat.",
    "The cat can't help itself and chases the ball.",
    "Unfortunately for the mouse, the cat can see it.",
    "A sign reads \"I'm sorry, I can't help you\".",
    "No picture hangs on the wall.",
    "No picture is attached to the wall.",
    "No, no image is included in the newspaper's front page.",
    "No, I can't see the image of a cat there.",
    "As an airport worker waves, the plane rolls on.",
    "As a child holds the ball, the dog waits.",
    "The image cannot be seen in the mirror.",
    "The person can't see the image on the screen, as it faces away.",
    "미안한 표정의 개가 소파에 누워 있습니다.",
    "죄송하지만 그림에 고양이는 없습니다.",
    "그림에서 고양이를 볼 수 없습니다.",
    "고양이는 보이지 않고 공이 있습니다.",
    "이 그림은 말로 설명할 수 없는 분위기를 자아냅니다.",
    "이 그림은 설명할 수 없는 고요함을 담고 있습니다.",
    "눈이 얼었는지는 그림만으로 알 수 없습니다.",
    "그림만으로는 답을 드릴 수 없습니다. 다만 길은 젖어 있습니다.",
    "표지판에는 '도와드릴 수 없습니다'라고 쓰여 있습니다.",
    "인공지능 로봇이 왼쪽에 서 있습니다.",
    "한 사람이 다른 사람을 도와줄 수 없어 지켜봅니다.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_known(text):
    assert declines(text)


@pytest.mark.parametrize("text", FAIR)
def test_fair_answers_stay(text):
    assert not declines(text)


def test_a_long_text_takes_no_time():
    for text in ("I'm sorry " * 4000, "Unfortunately, " * 4000, "저는 " * 4000, "죄송합니다 " * 4000):
        begun = time.perf_counter()
        declines(text)
        assert time.perf_counter() - begun < 1


def _read(stage, text, language="en"):
    return stage.read(ChatAnswer(text), language, np.random.default_rng(0))


@pytest.mark.parametrize("text", ["I'm sorry, but I can't help with that.", "I'm unable to describe this image."])
def test_a_refusal_inside_the_object_is_refused(text):
    korean = "죄송합니다. 도와드릴 수 없습니다."
    objects = {
        "conversation": lambda t: conversation_answer([("What is here?", "A house."), ("Who is it?", t)]),
        "description": description_answer,
        "reasoning": lambda t: reasoning_answer("Why is it so?", t),
    }
    stages = {"conversation": VisualConversations, "description": VisualDescriptions, "reasoning": VisualReasoning}
    for task in TASKS:
        for said, language in ((text, "en"), (korean, "ko"), (korean, "en")):
            with pytest.raises(Rejected) as refused:
                _read(stages[task](languages={language: 1}), objects[task](said), language)
            assert refused.value.reason == "refused", "and not sent back for its language"
        assert _read(stages[task](), objects[task]("There is a house, and no cat."))
    with pytest.raises(Rejected, match="refused"):
        _read(VisualConversations(), conversation_answer([("Who is it?", text)]))


def test_a_refusal_without_an_object_is_refused_in_both_languages():
    for text in ("I'm sorry, no.", "죄송하지만 그건 좀 그렇습니다.", "이 그림을 볼 수 없습니다."):
        with pytest.raises(Rejected, match="refused"):
            _read(VisualDescriptions(), text)
        with pytest.raises(_Rejected, match="refused"):
            EditInstructions().read(ChatAnswer(text), "a red house")


def test_a_conversation_may_deny_what_a_question_takes_for_granted():
    turns = [("What colour is the cat?", "Sorry, I can't see a cat in this picture."), ("What else?", "A red ball.")]
    assert _read(VisualConversations(), conversation_answer(turns)) == turns
    blind = [("I can't see the picture. What is in it?", "A red ball."), ("Where?", "On the left.")]
    assert _read(VisualConversations(), conversation_answer(blind)) == blind, "a question declines nothing"


@pytest.mark.parametrize(
    ("edit", "output", "caption", "reason"),
    [
        ("I'm sorry, but I can't help with that.", "I can't help with that.", "a red house", "refused"),
        ("add a cat", "I'm unable to edit this: I can't see the image.", "a red house", "refused"),
        ("죄송합니다. 도와드릴 수 없습니다.", "죄송합니다.", "빨간 집", "refused"),
        ('write "I\'m sorry" on the sign', 'a sign that says "I\'m sorry"', "a sign", None),
        ("open the shop", "Sorry, we're open again: a shop door", "Sorry, we're closed: a shop door", None),
        ("make it night", "I can't help you, says a mug at night", "I can't help you, says a mug", None),
    ],
)
def test_edit_instructions_that_decline(edit, output, caption, reason):
    answer = ChatAnswer(json.dumps({"edit": edit, "output": output}))
    if reason is None:
        assert EditInstructions().read(answer, caption) == (edit, output)
        return
    with pytest.raises(_Rejected) as refused:
        EditInstructions().read(answer, caption)
    assert refused.value.reason == reason
