"""Visual instructions through the real runner. Oracle: rows of which the test knows what was done to them."""

from __future__ import annotations

from collections import Counter

import pytest

import limbeck
from limbeck.recipe import load

SPOIL = '''
"""Answers every other closed question wrongly, and says so in `template_is`."""
import json
from typing import ClassVar

import pyarrow as pa

from limbeck.records import column, columns
from limbeck.stage import Generator, settings

COLUMNS = ("messages", "images", "question_type", "template", "language", "answer_type", "answer_value", "program",
           "options", "scenes", "boxes", "pair_id", "image_hashes")
FLIP = {"Yes": "No", "No": "Yes", "네": "아니요", "아니요": "네"}


@settings
class Spoil(Generator):
    """Turns yes into no in every other row."""

    name: ClassVar = "spoil"
    reads: ClassVar = columns(*COLUMNS)
    writes: ClassVar = (*columns(*COLUMNS), column("spoilt", pa.bool_()))

    def generate(self, rows, run):
        for i, row in enumerate(rows):
            messages = json.loads(json.dumps(row["messages"]))
            answer = messages[1]["content"][0]
            spoilt = i % 2 == 0 and answer["text"] in FLIP
            if spoilt:
                answer["text"] = FLIP[answer["text"]]
            yield {**{name: row[name] for name in COLUMNS}, "id": f"{row['id']}/0", "messages": messages, "spoilt": spoilt}
'''
RECIPE = """
[dataset]
name = "questions"
record = "VisualInstruction"
license = "cc0-1.0"
languages = ["en", "ko"]

[source]
storybook = { rows = 40 }

[[stages]]
use = "visual_questions"
forms = { word = 1 }

[[stages]]
use = "./spoil.py:Spoil"

[[stages]]
use = "answers_true"
"""


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoilt")
    (folder / "spoil.py").write_text(SPOIL)
    (folder / "recipe.toml").write_text(RECIPE)
    return limbeck.build(folder / "recipe.toml", folder / "out")


def test_closed_answers_are_checked_by_their_programs_in_a_build(spoilt):
    """The runner hands a stage only the columns it declares: programs, values and options have to be among them."""
    rows = list(spoilt.rows(verdict="all", columns=["spoilt", "verdicts"]))
    assert sum(row["spoilt"] for row in rows) > 40
    for row in rows:
        assert row["verdict"] == ("dropped" if row["spoilt"] else "kept"), row
        assert [v["verdict"] for v in row["verdicts"]] == ["wrong" if row["spoilt"] else "right"]
    assert Counter(r for row in rows for r in row["reasons"]).keys() == {"answer_wrong"}


@pytest.mark.parametrize("name", ["visual-questions", "visual-marks"])
def test_the_recipes_of_programs_lose_no_row_to_answers_true(name, tmp_path):
    built = limbeck.build(f"recipes/{name}.toml", tmp_path / "out", limit=24, report=False)
    funnel = {count.stage: count for count in built.funnel()}
    assert funnel["answers_true"].dropped == funnel["answers_true"].failed == 0
    assert funnel["balance"].kept > 0.8 * funnel["balance"].rows
    rows = list(built.rows(columns=["verdicts", "language", *(["marks"] if name == "visual-marks" else [])]))
    assert {v["verdict"] for row in rows for v in row["verdicts"]} == {"right"}
    assert {row["language"] for row in rows} == {"en", "ko"}
    assert all(row.get("marks") for row in rows) == (name == "visual-marks")


def test_all_visual_stages_follow_each_other(tmp_path):
    """Every filter of conversations in one line, each column where the next one looks for it."""
    text = RECIPE.replace('[[stages]]\nuse = "./spoil.py:Spoil"\n', "") + "".join(
        f'\n[[stages]]\nuse = "{name}"\n' for name in ("source_leak", "repeated_questions", "balance")
    )
    (tmp_path / "recipe.toml").write_text(text)
    assert len(load(tmp_path / "recipe.toml").stages) == 5
    built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out", limit=6)
    assert [count.stage for count in built.funnel()][1:] == [
        "visual_questions", "answers_true", "source_leak", "repeated_questions", "balance",
    ]  # fmt: skip
