"""The judge against the loopback server, and CLIP relevance. Oracles: ratings by hand, errors injected on purpose."""

from __future__ import annotations

import asyncio
import base64
import json
import random

import numpy as np
import pytest
from question_rows import DirectRun, made, storybook

from filters.clip_relevance import ClipRelevance
from filters.judge import SCHEMA, Judge
from generators.visual_questions import VisualQuestions
from limbeck.calibration import calibrate
from limbeck.errors import SettingError
from limbeck.loopback import Faults, LoopbackServer
from limbeck.models.chat_endpoint import EndpointChat
from limbeck.questions.injected import inject
from limbeck.stage import Failed
from limbeck.turns import assistant, user


def rated(true=5, answers=5, seen=5, written=5, reason=""):
    return json.dumps({"true": true, "answers": answers, "seen": seen, "written": written, "reason": reason})


def judge(rows, answer, stage=None, sees=True):
    stage = stage or Judge()
    with LoopbackServer(Faults(), answer) as server:
        chat = EndpointChat(server.base_url, "m", sees=sees)

        async def everything():
            return await asyncio.gather(*(stage.score_one(row, DirectRun("judge", chat)) for row in rows))

        return asyncio.run(everything()), server.bodies


ROWS = made(VisualQuestions(forms={"sentence": 1}, languages={"en": 1}), storybook(8, seed=31))


def test_ratings_decide():
    (out,), bodies = judge(ROWS[:1], lambda body: rated(3, 5, 2))
    stage = Judge()
    assert out == {"true": 3, "answers": 5, "seen": 2, "written": 5, "judge_reason": ""}
    assert stage.decide(out) == ("judged_untrue", "judged_poor")
    assert Judge(min_true=3, min_others=2).decide(out) == ()
    parts = bodies[0]["messages"][-1]["content"]
    assert base64.b64decode(parts[0]["image_url"]["url"].split(",")[1]) == ROWS[0]["images"][0]
    assert bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    "bad", ["Good!", rated(true=9), rated(true="five"), rated(true=True), rated(true=1e999), "{}", '["true"]']
)
def test_what_is_no_rating_fails_the_row_after_repair(bad):
    (out,), bodies = judge(ROWS[:1], lambda body: bad)
    assert isinstance(out, Failed)
    assert len(bodies) == 2
    answers = [bad, rated()]
    (out,), _ = judge(ROWS[:1], lambda body: answers.pop(0))
    assert out["true"] == 5


def test_a_blind_judge_is_refused():
    with pytest.raises(SettingError, match="doesn't see"):
        judge(ROWS[:1], lambda body: rated(), sees=False)


def test_calibration_reports_the_recall_of_a_judge_that_misses_a_third():
    """A judge that looks answers up in the true rows, and overlooks what it hashes to a third: its recall comes out so."""
    rng = random.Random(3)
    spoilt = [found[1] for row in ROWS if (found := inject(row, rng, ROWS)) and found[1]]
    true = {row["messages"][1]["content"][0]["text"] for row in ROWS}

    def answer(body):
        said = body["messages"][-1]["content"][-1]["text"].rpartition("assistant: ")[2]
        overlooked = sum(map(ord, said)) % 3 == 0
        return rated(5 if said in true or overlooked else 1)

    stage = Judge()
    bad, good = ([bool(stage.decide(out)) for out in judge(rows, answer)[0]] for rows in (spoilt, ROWS))
    expected = [
        row["messages"][1]["content"][0]["text"] not in true
        and sum(map(ord, row["messages"][1]["content"][0]["text"])) % 3 != 0
        for row in spoilt
    ]
    report = calibrate(bad, good)
    assert bad == expected
    assert report.false_alarms == 0
    assert report.recall == sum(expected) / len(spoilt)
    assert f"of {len(spoilt)} errors" in str(report)


class Matcher:
    """Pictures and texts in a plane, known by their first byte and word."""

    fingerprint = "m"

    def embed_images(self, images):
        return np.array(
            [[1.0, 0.0] if np.asarray(image)[0, 0, 0] > 128 else [0.0, 1.0] for image in images], np.float32
        )

    def embed_texts(self, texts):
        return np.array([[1.0, 0.0] if text.startswith("Light") else [0.6, 0.8] for text in texts], np.float32)


def test_relevance_is_that_of_the_best_picture_and_of_long_answers_alone():
    from limbeck.pictures import png

    light, dark = (png(np.full((8, 8, 3), value, np.uint8)) for value in (250, 5))

    def row(text, *images):
        return {"id": text, "messages": [user(0, "?"), assistant(text)], "images": list(images)}

    rows = [
        row("Light falls from above on all of it", light), row("Light falls from above on all of it", dark),
        row("Dark it is and cold as well here", light), row("Dark it is and cold as well here", light, dark),
        row("Light", dark), row("Light falls from above on all of it"), row("Light falls from above on all of it", b"none"),
    ]  # fmt: skip
    stage = ClipRelevance(batch_size=2)
    scores = [out["clip_relevance"] for out in stage.score(rows, DirectRun("c", Matcher()))]
    assert [None if s is None else round(s, 5) for s in scores] == [1.0, 0.0, 0.6, 0.8, None, None, None]
    assert [stage.decide({"clip_relevance": s}) for s in scores] == [(), ("irrelevant",), (), (), (), (), ()]


RECIPE = """
[dataset]
name = "talks"
record = "VisualInstruction"
license = "cc0-1.0"
languages = ["en", "ko"]

[source]
storybook = { rows = 4 }

[models]
judge = { base_url = "%s", model = "m", sees = true }

[[stages]]
use = "visual_questions"

[[stages]]
use = "answers_true"

[[stages]]
use = "judge"

[[stages]]
use = "balance"
"""


def test_the_command_calibrates_any_filter_of_single_rows(tmp_path, capsys):
    """answers_true knows the truth; a judge that says five to everything finds nothing; one that answers in prose fails."""
    from flows.cli import app
    from limbeck.launch import main

    assert app
    (tmp_path / "recipe.toml").write_text(RECIPE % "http://127.0.0.1:9/v1")
    assert main(["calibrate", str(tmp_path / "recipe.toml"), "answers_true", "-n", "40"]) == 0
    said = capsys.readouterr().out
    assert "of 40 errors" in said
    assert float(said.split("%")[0].split()[-1]) >= 95
    assert "drops 0.0% of 40 good rows" in " ".join(said.split())
    for answer, expected in ((rated(), "0.0% of 10 errors"), ("Looks fine to me.", "failed on 20")):
        with LoopbackServer(Faults(), lambda body, answer=answer: answer) as server:
            (tmp_path / "recipe.toml").write_text(RECIPE % server.base_url)
            assert main(["calibrate", str(tmp_path / "recipe.toml"), "judge", "-n", "10"]) == 0
        assert expected in " ".join(capsys.readouterr().out.split())
    for wrong in ("balance", "visual_questions", "nobody"):
        assert main(["calibrate", str(tmp_path / "recipe.toml"), wrong]) == 2
        assert "answers_true, judge" in capsys.readouterr().err


def test_injected_errors_share_nothing_with_what_finds_them():
    import ast
    import inspect

    from limbeck.questions import injected

    tree = ast.parse(inspect.getsource(injected))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules == {"__future__", "collections.abc", "copy", "json", "random", "re", "typing"}
