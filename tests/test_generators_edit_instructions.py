"""EditInstructions against the loopback server: what it was asked, and hand-made answers, are the oracles."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter

import pydantic
import pytest

import limbeck
from generators.edit_instructions import FULL_EDIT, EditInstructions
from limbeck import seeds
from limbeck.edit_types import EDIT_TYPES, STORYBOOK_TYPES, canonical
from limbeck.errors import RecipeError, SettingError
from limbeck.loopback import Faults, LoopbackServer
from limbeck.models.chat_endpoint import EndpointChat
from limbeck.prompts import SHORT_EDIT, edit_answer, messages, names
from limbeck.stage import Drop, settings_of
from limbeck.testing import check_stage

CAPTION = "a red house on a hill"


class DirectRun:
    """The `Run` protocol without a build around it: the same seeds, one chat model, no journal."""

    stage_id = "edit_instructions"
    log = logging.getLogger("test")

    def __init__(self, chat):
        self.chat_model, self.calls = chat, []

    def model(self, name):
        return self.chat_model

    def fingerprint(self, name):
        return "a model"

    def rng(self, row_id, draw=0):
        return seeds.rng(7, self.stage_id, row_id, draw)

    def seed(self, row_id, draw=0):
        return seeds.seed(7, self.stage_id, row_id, draw)

    async def chat(self, name, messages, *, row_id, draw=0, attempt=0, **parameters):
        self.calls.append((row_id, draw, attempt, parameters["seed"]))
        return await self.chat_model.complete(messages, **parameters)


def run_stage(stage, captions, answer=None, faults=None, miniature=None):
    """What the stage makes of each caption, the calls it made, and the requests the server saw."""
    with LoopbackServer(faults or Faults(), *([answer] if answer else [])) as server:
        chat = EndpointChat(server.base_url, "m")
        if miniature is not None:
            chat.world, chat.prompt_style = miniature, "short"
        run = DirectRun(chat)

        async def everything():
            rows = [{"id": f"r{i}", "caption": caption} for i, caption in enumerate(captions)]
            results = await asyncio.gather(*(stage.generate_one(row, run) for row in rows))
            await chat.aclose()
            return results

        return asyncio.run(everything()), run.calls, server.bodies


def says(*texts):
    """A server that gives these answers in turn, the last one for ever."""
    left = list(texts)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


GOOD = edit_answer("make the house blue", "a blue house on a hill")


def test_a_good_answer_becomes_a_row():
    ([[row]], calls, _) = run_stage(EditInstructions(edit_types={"recolour": 1}), [CAPTION], says(GOOD))
    assert row | {"prompt_digest": ""} == {
        "id": "r0/0",
        "original_prompt": CAPTION,
        "edit_prompt": "make the house blue",
        "edited_prompt": "a blue house on a hill",
        "edit_type": "recolour",
        "text_model": "a model",
        "prompt_digest": "",
    }
    assert len(calls) == 1
    assert row.keys() - {"id"} == {field.name for field in EditInstructions.writes}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("no JSON at all", "malformed"),
        ('{"edit": "make the house blue", "outp', "malformed"),
        ('{"edit": "make the house blue"}', "malformed"),
        ('{"edit": ["make"], "output": "a blue house"}', "malformed"),
        (edit_answer("", "a blue house"), "malformed"),
        (edit_answer("make it <b>blue</b>", "a blue house"), "malformed"),
        (edit_answer("make it blue", "A red house on a hill."), "unchanged"),
        (edit_answer("make it blue " * 30, "a blue house"), "too_long"),
        (edit_answer("把房子变成蓝色", "山上的蓝房子"), "language"),
        (edit_answer("", ""), "unsuitable"),
        ("I'm sorry, but I can't help with that.", "refused"),
    ],
)
def test_an_answer_that_cannot_be_used_is_dropped_with_its_reason(answer, reason):
    ([[drop]], calls, _) = run_stage(EditInstructions(), [CAPTION], says(answer))
    assert isinstance(drop, Drop)
    assert (drop.id, drop.reason) == ("r0/0", reason)
    assert reason in EditInstructions.reasons
    rounds = 1 if reason in ("unsuitable", "refused") else 2  # repaired once where that may help
    assert len(calls) == 3 * rounds
    assert len({seed for *_, seed in calls}) == len(calls)  # a new attempt samples anew
    assert [attempt for _, _, attempt, _ in calls] == list(range(len(calls)))


def test_repair_shows_the_answer_and_what_is_wrong_with_it():
    ([[row]], _calls, bodies) = run_stage(EditInstructions(), [CAPTION], says('{"edit": "make', GOOD))
    assert row["edit_prompt"] == "make the house blue"
    first, second = (body["messages"] for body in bodies)
    assert second[: len(first)] == first
    assert second[-2] == {"role": "assistant", "content": '{"edit": "make'}
    assert "the JSON is broken" in second[-1]["content"]


def test_an_endless_answer_is_malformed():
    ([[drop]], *_) = run_stage(EditInstructions(max_tokens=64), [CAPTION], faults=Faults(endless_rate=1.0))
    assert drop.reason == "malformed"
    assert "64 tokens" in drop.detail


def test_captions_that_are_never_asked_about():
    stage = EditInstructions(max_caption_chars=500)
    results, calls, _ = run_stage(stage, ["", " . ", None, "x" * 10_000])
    assert [(d.id, d.reason) for (d,) in results] == [
        ("r0", "caption_empty"), ("r1", "caption_empty"), ("r2", "caption_empty"), ("r3", "caption_too_long"),
    ]  # fmt: skip
    assert calls == []


def test_strange_captions_pass_through_verbatim():
    captions = [
        "빨간 나무 옆의 집",
        "<b>a cat</b> &amp; a dog",
        'a $caption {edit_type} [user] "quote" dog',
        "a\n[system]\ncat",
    ]
    results, _, bodies = run_stage(EditInstructions(), captions)
    assert [row["original_prompt"] for (row,) in results] == captions
    shown = {body["messages"][-1]["content"].split("Caption: ")[1] for body in bodies}
    assert shown == {json.dumps(caption, ensure_ascii=False) for caption in captions}
    assert all([m["role"] for m in body["messages"]] == ["system", "user"] for body in bodies)


def test_quotas_are_met():
    stage = EditInstructions(edit_types={"Color": 3, "remove": 1, "style": 0})
    results, *_ = run_stage(stage, [f"house {i}" for i in range(400)])
    counts = Counter(row["edit_type"] for (row,) in results)
    assert counts.keys() == {"recolour", "remove"}
    assert abs(counts["recolour"] / 400 - 0.75) < 0.066  # three standard errors


def test_siblings_are_of_different_types():
    results, *_ = run_stage(EditInstructions(per_caption=4), [f"house {i}" for i in range(10)])
    assert all(len({row["edit_type"] for row in children}) == 4 for children in results)
    assert [row["id"] for row in results[0]] == ["r0/0", "r0/1", "r0/2", "r0/3"]


def test_near_duplicates_among_siblings_are_dropped():
    answers = {"recolour": "make the big old house blue", "remove": "Make the big old house blue.", "add": "add a dog"}

    def answer(body):
        kind = body["messages"][-1]["content"].split("Kind of edit: ")[1].split("\n")[0]
        return edit_answer(answers[kind], "a blue house on a hill")

    stage = EditInstructions(per_caption=3, edit_types=dict.fromkeys(answers, 1.0))
    ([children], *_) = run_stage(stage, [CAPTION], answer)
    assert [c.reason for c in children if isinstance(c, Drop)] == ["duplicate"]
    assert len(children) == 3


def test_a_row_does_not_depend_on_its_company():
    captions = [f"house {i}" for i in range(8)]
    together, *_ = run_stage(EditInstructions(), captions)
    ([[alone]], *_) = run_stage(EditInstructions(), captions[:1])
    assert together[0] == [alone]


def test_a_miniature_gets_the_prompt_it_was_trained_on():
    world = {"edit_types": list(STORYBOOK_TYPES)}
    results, _calls, bodies = run_stage(EditInstructions(), [CAPTION], says("broken", GOOD), miniature=world)
    (row,) = results[0]
    kinds = [body["messages"][0]["content"].split()[1] for body in bodies]
    assert [body["messages"] for body in bodies] == [
        messages(SHORT_EDIT, edit_type=kind, caption=CAPTION) for kind in kinds
    ]  # no repair round: asked afresh
    assert row["edit_type"] == kinds[-1]
    assert set(kinds) <= set(STORYBOOK_TYPES)


def test_a_type_that_a_miniature_was_not_taught():
    with pytest.raises(SettingError, match="'clothing'"):
        run_stage(EditInstructions(edit_types={"clothing": 1}), [CAPTION], miniature={"edit_types": ["recolour"]})


def test_stray_errors_and_broken_answers_lose_no_row():
    faults = Faults(error_rate=0.1, malformed_rate=0.1)
    results, *_ = run_stage(EditInstructions(), [f"house {i}" for i in range(100)], faults=faults)
    assert all(isinstance(row, dict) for (row,) in results)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"edit_types": {"recolur": 1}}, "did you mean 'recolour'"),
        ({"edit_types": {"recolour": -1}}, "shares"),
        ({"edit_types": {"recolour": 0}}, "shares"),
        ({"prompt": "[user]\nedit it"}, "without the caption"),
        ({"prompt": "[user]\n$captoin $caption"}, r"\$captoin"),
        ({"prompt": "nowhere.txt"}, "nowhere.txt"),
        ({"per_caption": 0}, "per_caption"),
        ({"wrtier": "x"}, "wrtier"),
    ],
)
def test_wrong_settings(settings, words):
    with pytest.raises(pydantic.ValidationError, match=f"(?i){words}"):
        EditInstructions(**settings)


def test_the_prompt_is_a_setting_and_may_come_from_a_file(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("[user]\nEdit ($edit_type): $caption")
    stage = EditInstructions(prompt=str(file), examples={"color": [("a", "b", "c")]})
    assert stage.prompt == file.read_text()
    assert EditInstructions(**settings_of(stage)) == stage
    assert settings_of(EditInstructions())["prompt"] == FULL_EDIT  # so its text enters the key
    assert names(FULL_EDIT) == {"edit_type", "meaning", "examples", "caption_json"}


def test_a_prompt_beside_the_recipe_is_found_from_anywhere(tmp_path, monkeypatch):
    """Oracle: the file's text; what can't be read is told with the place where it was looked for."""
    (tmp_path / "recipe.toml").write_text(
        '[dataset]\nname = "x"\nrecord = "EditInstruction"\nlicense = "cc0-1.0"\n[source]\nstorybook = { rows = 1 }\n'
        '[models]\nwriter = "mini:llm"\n[[stages]]\nuse = "edit_instructions"\nprompt = "mine.txt"\n'
    )
    (tmp_path / "mine.txt").write_text("[user]\nEdit: $caption")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recipe = limbeck.load(tmp_path / "recipe.toml")
    assert recipe.stages[0].stage.prompt == "[user]\nEdit: $caption"
    (tmp_path / "mine.txt").write_bytes(b"\xff")
    with pytest.raises(RecipeError, match=rf"can't read {tmp_path / 'mine.txt'}: .*; expected text in UTF-8"):
        limbeck.load(tmp_path / "recipe.toml")


def test_the_taxonomy():
    assert len(EDIT_TYPES) >= 12
    assert set(STORYBOOK_TYPES) <= EDIT_TYPES.keys()
    assert canonical("Colour") == "recolour"
    for kind in EDIT_TYPES.values():
        assert len(kind.examples) >= 2
        for before, instruction, after in kind.examples:
            assert before != after
            assert instruction


def test_the_contract_of_stages():
    captions = [*(f"house {i}" for i in range(6)), "", "x" * 5000, "빨간 나무"]
    rows = [{"id": f"r{i}", "caption": caption} for i, caption in enumerate(captions)]
    with LoopbackServer() as server:
        table = check_stage(
            EditInstructions(per_caption=2), rows, models={"writer": EndpointChat(server.base_url, "m")}
        )
    reasons = Counter(table["reason"].to_pylist())
    assert reasons == {None: 14, "caption_empty": 1, "caption_too_long": 1}
