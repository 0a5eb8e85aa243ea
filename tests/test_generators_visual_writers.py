"""Stages written by a chat model, against the loopback server. Oracles: hand-made answers and what the server was asked."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from pydantic import ValidationError
from question_rows import DirectRun, asked, storybook

from filters.answers_true import AnswersTrue
from filters.source_leak import SourceLeak
from generators.visual_conversations import VisualConversations
from generators.visual_descriptions import REQUESTS, VisualDescriptions
from generators.visual_reasoning import VisualReasoning
from limbeck.loopback import Faults, LoopbackServer
from limbeck.models.chat_endpoint import EndpointChat
from limbeck.questions.context import SCHEMAS, TASKS, conversation_answer, description_answer, reasoning_answer
from limbeck.questions.teaching import example
from limbeck.questions.written import Rejected
from limbeck.stage import Drop
from limbeck.storybook import Scene
from limbeck.turns import answers, assistant, faults, text_of, user

STAGES = {"conversation": VisualConversations, "description": VisualDescriptions, "reasoning": VisualReasoning}
GOOD = {
    "conversation": conversation_answer([("What is here?", "A house."), ("Is there a cat?", "No, there is no cat.")]),
    "description": description_answer("A house stands on the left."),
    "reasoning": reasoning_answer("Where could one sleep?", "In the house, because it has a roof."),
}
KOREAN = {
    "conversation": conversation_answer(
        [("무엇이 있나요?", "집이 있습니다."), ("고양이가 있나요?", "아니요, 없습니다.")]
    ),
    "description": description_answer("왼쪽에 집이 있습니다."),
    "reasoning": reasoning_answer("어디에서 잘 수 있나요?", "집에는 지붕이 있으니 그 안에서 잘 수 있습니다."),
}


def says(*texts):
    """A server that gives these answers in turn, the last one for ever."""
    left = list(texts)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


def run_stage(stage, rows, answer, faults=None, world=None, sees=False):
    with LoopbackServer(faults or Faults(), answer) as server:
        chat = EndpointChat(server.base_url, "m", sees=sees) if sees else EndpointChat(server.base_url, "m")
        if world is not None:
            chat.world, chat.prompt_style = world, "short"
        run = DirectRun(stage.name, chat)
        results = asked(stage, rows, run)
        return results, server.bodies


@pytest.mark.parametrize("task", TASKS)
def test_a_good_answer_becomes_a_row(task):
    (row,), bodies = run_stage(STAGES[task](), storybook(1), says(GOOD[task]))
    assert faults(row["messages"], len(row["images"])) == []
    assert row["question_type"] == task
    assert row["text_model"] == "m"
    assert row.keys() - {"id"} == {field.name for field in STAGES[task].writes}
    assert bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMAS[task]
    told = bodies[0]["messages"][-1]["content"]
    assert storybook(1)[0]["caption"] in told
    assert all(f"{box['name']}: [{box['box'][0]:.3f}" in told for box in row["boxes"]), "boxes in all three types"
    assert "[user]" not in json.dumps(bodies[0]["messages"])


@pytest.mark.parametrize("task", TASKS)
def test_korean_is_asked_for_and_english_sent_back(task):
    stage = STAGES[task](languages={"ko": 1})
    (row,), bodies = run_stage(stage, storybook(1), says(GOOD[task], KOREAN[task]))
    assert row["language"] == "ko"
    assert "Write in Korean." in bodies[0]["messages"][-1]["content"]
    assert "write in Korean" in bodies[1]["messages"][-1]["content"]
    assert len(bodies) == 2
    if task == "description":
        assert text_of(row["messages"][0]) in REQUESTS["ko"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("Sure! The picture shows a lovely house.", "malformed"),
        ('{"turns": [{"question": "What?"', "malformed"),
        ('{"edit": "make it blue", "output": "x"}', "malformed"),
        ('{"turns": "none"}', "malformed"),
        ('{"turns": [{"question": "What?", "answer": 3}, {"question": "Who?", "answer": "B"}]}', "malformed"),
        (
            '{"turns": [{"question": "What?", "answer": "A <b>house</b>"}, {"question": "Who?", "answer": "B"}]}',
            "malformed",
        ),
        ('{"turns": [{"question": "What?", "answer": ""}, {"question": "Who?", "answer": "B"}]}', "malformed"),
        ('{"turns": [{"question": "What?", "answer": "A house."}]}', "too_few_turns"),
        (KOREAN["conversation"], "language"),
        ("I'm sorry, but I can't help with that.", "refused"),
    ],
)
def test_bad_answers_are_counted_drops(answer, reason):
    (drop,), bodies = run_stage(VisualConversations(), storybook(1), says(answer))
    assert isinstance(drop, Drop)
    assert drop.reason == reason
    assert len(bodies) == (2 if reason == "refused" else 4), "one repair and one fresh start"


def test_fences_thoughts_and_faults_of_the_server_are_overcome():
    wrapped = f"<think>hm</think>Here:\n```json\n{GOOD['conversation']}\n```"
    (row,), _ = run_stage(VisualConversations(), storybook(1), says(wrapped), Faults(error_rate=0.3, seed=3))
    assert answers(row["messages"]) == ["A house.", "No, there is no cat."]


@pytest.mark.parametrize("task", TASKS)
def test_the_worked_examples_are_what_the_stage_itself_takes(task):
    """Three a type, one of them Korean: each passes the reader that real answers pass, leaks nothing and speaks its language."""
    from limbeck.models.roles import ChatAnswer

    stage = STAGES[task]()
    _, bodies = run_stage(stage, storybook(1), says(GOOD[task]))
    said = [m["content"] for m in bodies[0]["messages"] if m["role"] == "assistant"]
    assert len(said) == 3
    languages = ["ko" if any("가" <= letter <= "힣" for letter in text) else "en" for text in said]
    for text, language in zip(said, languages, strict=True):
        turns = stage.read(ChatAnswer(text), language, np.random.default_rng(0))
        row = {"messages": [m for q, a in turns for m in (user(q), assistant(a))], "question_type": task}
        assert SourceLeak().score([row], DirectRun())[0]["leak"] is None
        with pytest.raises(Rejected, match="language"):
            stage.read(ChatAnswer(text), "en" if language == "ko" else "ko", np.random.default_rng(0))
    assert sorted(languages) == ["en", "en", "ko"]


def test_a_seeing_model_gets_the_picture():
    (row,), bodies = run_stage(VisualDescriptions(sees=True), storybook(1), says(GOOD["description"]), sees=True)
    kinds = [part["type"] for part in bodies[0]["messages"][-1]["content"]]
    assert kinds == ["image_url", "text"]
    assert bodies[0]["messages"][-1]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert row["images"][0].startswith(b"\x89PNG")


def test_a_miniature_gets_its_own_prompt_and_is_asked_for_what_it_was_taught():
    world = {"visual_tasks": ["description"], "languages": ["en"]}
    _, bodies = run_stage(VisualDescriptions(), storybook(1), says(GOOD["description"]), world=world)
    assert bodies[0]["messages"][0]["content"].startswith("write: description\ncaption: ")
    (drop,), bodies = run_stage(VisualConversations(), storybook(1), says(GOOD["conversation"]), world=world)
    assert (drop.reason, bodies) == ("outside_world", [])
    (drop,), _ = run_stage(
        VisualDescriptions(languages={"ko": 1}), storybook(1), says(GOOD["description"]), world=world
    )
    assert drop.reason == "outside_world"


def test_a_domain_reaches_the_writer_and_pictures_come_from_their_columns():
    from limbeck.pictures import png
    from limbeck.storybook import render

    image = png(render(Scene.from_json(storybook(1)[0]["scene"])).image)
    row = {
        "id": "x",
        "caption": "A slide.\nStained tissue.",
        "image": image,
        "boxes": [{"image": 0, "name": "cell", "box": [0.1, 0.2, 0.3, 0.4]}],
    }
    stage = VisualDescriptions(of="boxes", domain="The pictures are stained tissue slides.")
    (made,), bodies = run_stage(stage, [row], says(GOOD["description"]))
    assert "stained tissue slides" in bodies[0]["messages"][0]["content"]
    assert "cell: [0.100, 0.200, 0.300, 0.400]" in bodies[0]["messages"][-1]["content"]
    assert made["images"] == [image]
    assert made["scenes"] == []
    assert run_stage(stage, [row | {"image": None}], says(""))[0][0].reason == "no_picture"
    (made,), bodies = run_stage(
        VisualDescriptions(of="captions"), [{k: row[k] for k in ("id", "caption", "image")}], says(GOOD["description"])
    )
    assert "(none given)" in bodies[0]["messages"][-1]["content"]


def test_what_the_miniature_is_taught_is_true_and_leaks_nothing():
    """The claims of 90 taught answers, held against the scene they are about; the filters keep all of them."""
    world = {"visual_tasks": list(TASKS), "languages": ["en"]}
    taught = {}
    for row in storybook(30, seed=11):
        for task in TASKS:
            prompt, answer, _ = example(Scene.from_json(row["scene"]), random.Random(f"{row['id']}{task}"), task)
            taught[prompt] = answer
    for task in TASKS:
        rows, _ = run_stage(
            STAGES[task](), storybook(30, seed=11), lambda body: taught[body["messages"][0]["content"]], world=world
        )
        assert not [row for row in rows if isinstance(row, Drop)]
        checks = AnswersTrue().score([row | {"program": None} for row in rows], DirectRun())
        assert [out["detail"] for out in checks if out["fault"]] == []
        assert sum(out["checked"] for out in checks) >= (30 if task != "reasoning" else 8)
        assert not [out for out in SourceLeak().score(rows, DirectRun()) if out["leak"]]


def test_settings_are_checked():
    for wrong in ({"languages": {"fr": 1}}, {"prompt": "no caption"}, {"prompt": "$caption $colour"}, {"turns": 3}):
        with pytest.raises(ValidationError):
            VisualConversations(**wrong)
