"""The built-in VLM on pictures that it never saw: the storybook's own renderings of test scenes.

Oracle: the programs that answer the questions from the scene graph.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import vlm_answers
from distill.vlm import verdicts
from limbeck import models
from limbeck.models.spec import ModelSpec


@pytest.fixture(scope="module")
def chat():
    return models.load(ModelSpec(id="mini:vlm"), "chat")


@pytest.fixture(scope="module")
def questions():
    return vlm_answers.questions(8)


def right(chat, rows, how):
    """The share of closed questions that it answers exactly, asked as any chat model is."""
    said = vlm_answers.answers(chat, rows, how)
    return np.mean([verdicts.read(row, text).right for row, text in zip(rows, said, strict=True)])


def test_it_answers_questions_about_pictures_that_it_never_saw(chat, questions):
    assert chat.sees  # its recipe needn't say so
    assert right(chat, questions, "seen") > 0.75


def test_it_guesses_where_it_sees_nothing(chat, questions):
    assert right(chat, questions, "blind") < 0.5
