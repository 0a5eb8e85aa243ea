"""The built-in VLM on pictures that it never saw: the storybook's own renderings of test scenes.

Oracle: the programs that answer the questions from the scene graph.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from question_rows import made

from distill.vlm import asking, verdicts
from generators.visual_questions import VisualQuestions
from limbeck import models
from limbeck.models.spec import ModelSpec
from limbeck.pictures import image_block
from limbeck.storybook.source import rows as scenes

SCENES = 10


@pytest.fixture(scope="module")
def chat():
    return models.load(ModelSpec(id="mini:vlm"), "chat")


@pytest.fixture(scope="module")
def questions():
    """Closed questions about test scenes, each type among them."""
    stage = VisualQuestions(per_scene=12, picture_first=1.0, languages={"en": 1.0})
    return [row for row in made(stage, list(scenes(SCENES, 11, split="test"))) if asking.is_closed(row)]


def told(message, images):
    """A row's message as a chat message with its pictures in it."""
    parts = [image_block(images[p["image"]]) if p["type"] == "image" else p for p in message["content"]]
    return {"role": message["role"], "content": [{k: v for k, v in p.items() if v is not None} for p in parts]}


def right(chat, rows, how="seen"):
    """The share of closed questions that it answers exactly, asked as any chat model is."""

    async def everything():
        conversations = ([told(m, q.images) for m in q.messages] for q in asking.asked(rows, how))
        return await asyncio.gather(*(chat.complete(c, temperature=0.0, max_tokens=24) for c in conversations))

    answers = [answer.text for answer in asyncio.run(everything())]
    return np.mean([verdicts.read(row, text).right for row, text in zip(rows, answers, strict=True)])


def test_it_answers_questions_about_pictures_that_it_never_saw(chat, questions):
    assert chat.sees  # its recipe needn't say so
    assert right(chat, questions) > 0.75


def test_it_guesses_where_it_sees_nothing(chat, questions):
    assert right(chat, questions, "blind") < 0.5
