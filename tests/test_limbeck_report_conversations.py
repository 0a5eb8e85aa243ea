"""The report of visual instructions. Oracles: an HTML parser, the build's own rows, and pixels drawn from their scenes."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from test_limbeck_card import SUMMARY
from test_limbeck_report import HOSTILE, Page, picture

import limbeck
from limbeck.card import card
from limbeck.report.collect import collect
from limbeck.report.data import Pair, ReportData, Talk, Turn
from limbeck.report.page import html
from limbeck.report.talk import talk_of
from limbeck.storybook import Scene, render
from limbeck.turns import answers, assistant, user

RECIPE = """
[dataset]
name = "talks"
record = "VisualInstruction"
license = "cc0-1.0"
languages = ["en", "ko"]

[source]
storybook = { rows = 30 }

[[stages]]
use = "%s"
%s

[[stages]]
use = "answers_true"

[[stages]]
use = "balance"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("talks")
    (folder / "recipe.toml").write_text(RECIPE % ("visual_questions", "per_scene = 6"))
    return limbeck.build(folder / "recipe.toml", folder / "out")


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marked")
    (folder / "recipe.toml").write_text(RECIPE % ("marked_pictures", "per_scene = 2"))
    return limbeck.build(folder / "recipe.toml", folder / "out")


@pytest.mark.parametrize("name", ["built", "marked"])
def test_every_card_shows_its_rows_turns_pictures_boxes_and_marks(name, request):
    build = request.getfixturevalue(name)
    columns = ["messages", "images", "boxes", "language", "question_type", *(["marks"] if name == "marked" else [])]
    rows = {row["id"]: row for row in build.rows(verdict="all", columns=columns)}
    data = collect(build)
    text = html(data)
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    shown = [rows[pair.id] for pair in (*data.kept, *data.dropped)]
    assert len(shown) >= 36
    for row in shown:
        for part in (part for message in row["messages"] for part in message["content"] if part["text"]):
            assert " ".join(part["text"].split()) in words
    classes = Counter(name for _, attrs in page.elements for name in (attrs.get("class") or "").split())
    assert classes["asks"] == classes["answers"] == len(shown)
    assert classes["box"] == sum(len(row["boxes"]) for row in shown)
    assert classes["spot"] == sum(len(row.get("marks") or []) for row in shown) or name == "built"
    assert classes["verdict"] == len(shown)
    assert len(page.all("img")) == sum(len(row["images"]) for row in shown)
    assert {row["language"] for row in shown} == {"en", "ko"}
    assert Counter(attrs.get("lang") for attrs in page.all("figcaption")) == Counter(row["language"] for row in shown)
    if name == "built":
        assert classes["box"] > 0
        assert {len(row["images"]) for row in shown} == {1, 2}
        assert {row["question_type"] for row in shown} >= {"region", "two_pictures", "existence", "false_premise"}


def test_a_box_stands_where_its_row_says():
    talk = Talk(
        (Turn("user", (0, "Where?")),),
        (picture(16),),
        ((0, "cat", (0.25, 0.5, 0.75, 0.875)),),
        ((0, 3, "cat", 0.5, 0.6875),),
    )
    page = Page(html(ReportData(replace(SUMMARY, record="VisualInstruction"), (Pair("a", "kept", talk=talk),))))
    styles = {attrs["class"]: attrs["style"] for tag, attrs in page.elements if attrs.get("class") in ("box", "spot")}
    assert styles == {"box": "left:25.0%;top:50.0%;width:50.0%;height:37.5%", "spot": "left:50.0%;top:68.75%"}


def test_counts_by_kind_and_language_are_those_of_the_rows(built):
    rows = list(built.rows(verdict="all", columns=["question_type", "language"]))
    summary = collect(built).summary
    for yields, column in ((summary.by_type, "question_type"), (summary.by_language, "language")):
        assert {y.name: y.rows for y in yields} == Counter(row[column] for row in rows)
        assert {y.name: y.kept for y in yields} == Counter(row[column] for row in rows if row["verdict"] == "kept")
    text = (built.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Kinds of question" in text
    assert "Kinds of edit" not in text
    assert "### Yield by kind of question" in card(summary)


def test_pictures_that_were_not_stored_are_drawn_from_their_scenes(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE % ("visual_questions", "pictures = false"))
    built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out", limit=4)
    pair = collect(built).kept[0]
    (row,) = [row for row in built.rows(columns=["scenes", "images"]) if row["id"] == pair.id]
    assert row["images"] == []
    drawn = [np.asarray(Image.open(BytesIO(image))) for image in pair.talk.images]
    assert all((a == render(Scene.from_json(s)).image).all() for a, s in zip(drawn, row["scenes"], strict=True))
    assert talk_of({"messages": [user("?"), assistant("!")], "scenes": ["no scene"]}).images == ()


def test_verdicts_belong_to_their_answers():
    messages = [user(0, "What?"), assistant("A cat."), user("And?"), assistant("A dog.")]
    verdicts = [{"turn": 0, "verdict": "right", "detail": ""}, {"turn": 1, "verdict": "wrong", "detail": "there ?dog"}]
    turns = talk_of({"messages": messages, "images": [picture()], "verdicts": verdicts}).turns
    assert [(turn.verdict, turn.detail) for turn in turns] == [
        ("", ""),
        ("right", ""),
        ("", ""),
        ("wrong", "there ?dog"),
    ]
    assert answers(messages) == [turn.parts[0] for turn in turns if turn.role == "assistant"]


def test_nothing_from_outside_becomes_markup():
    talk = Talk(
        (Turn("user", (0, HOSTILE)), Turn("assistant", (HOSTILE,), "wrong", HOSTILE)), (picture(), b"<svg onload=alert(1)>"),
        ((0, HOSTILE, (0.1, 0.1, 0.2, 0.2)),), ((0, 1, HOSTILE, 0.5, 0.5),), HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE,
    )  # fmt: skip
    summary = replace(SUMMARY, record="VisualInstruction")
    text = html(ReportData(summary, (Pair(HOSTILE, "kept", edit_type=HOSTILE, talk=talk, facts={HOSTILE: HOSTILE}),)))
    page = Page(text)
    assert len(page.all("script")) == 1
    assert not [attrs for attrs in page.all("img") if not attrs["src"].startswith("data:image/")]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert base64.b64encode(b"<svg").decode() not in text
