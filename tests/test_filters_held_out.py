"""Decontamination and repeats. Oracles: pictures resized and re-encoded by Pillow; rows doubled by hand."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError
from question_rows import DirectRun, made, storybook

import limbeck
from filters.held_out import HeldOut
from filters.repeated_questions import RepeatedQuestions
from generators.visual_questions import VisualQuestions
from limbeck.errors import SettingError
from limbeck.pictures import png
from limbeck.storybook import Scene, render
from limbeck.turns import assistant, user

PICTURES = [render(Scene.from_json(row["scene"]), 96).image for row in storybook(12, seed=41)]


def resized(image, side, kind="JPEG"):
    out = io.BytesIO()
    Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).save(out, kind, quality=85)
    return out.getvalue()


def repeats(rows):
    """The ids that `repeated_questions` drops."""
    scores = RepeatedQuestions().score(rows, DirectRun())
    columns = {
        name: np.array([{**r, **s}[name] for r, s in zip(rows, scores, strict=True)], object)
        for name in ("asked", "id")
    }
    gone = RepeatedQuestions().decide_all(columns)["repeated"]
    return {row["id"] for row, drop in zip(rows, gone, strict=True) if drop}


@pytest.fixture
def held_out(tmp_path):
    path = tmp_path / "test.parquet"
    one = [{"bytes": png(PICTURES[0]), "path": None}, {"bytes": png(PICTURES[1]), "path": None}]
    pq.write_table(pa.table({"image": [png(PICTURES[2]), None], "images": [one, []], "text": ["a", "b"]}), path)
    return str(path)


def test_held_out_pictures_are_found_however_they_were_saved(held_out):
    stage = HeldOut(against=(held_out,))
    rows = [{"id": str(i), "images": [resized(image, 64), png(PICTURES[9])]} for i, image in enumerate(PICTURES)]
    rows.append({"id": "text", "images": []})
    rows.append({"id": "broken", "images": [b"no picture"]})
    scored = stage.score(rows, DirectRun())
    assert [bool(stage.decide(out)) for out in scored] == [True] * 3 + [False] * 11
    assert scored[-1] == {"held_out_bits": None, "held_out_colour": None, "held_out_colours": None}


def recoloured(data):
    """As light in every place, in other colours."""
    luma, blue, red = Image.open(io.BytesIO(data)).convert("YCbCr").split()
    out = io.BytesIO()
    Image.merge("YCbCr", (luma, blue.point(lambda v: 255 - v), red.point(lambda v: 255 - v))).convert("RGB").save(
        out, "PNG"
    )
    return out.getvalue()


def test_other_held_out_pictures_hide_none(held_out, tmp_path):
    """Oracle: what is found among the held-out pictures alone, beside which recoloured ones of nearer hashes come."""
    small = [resized(image, side) for image in PICTURES[:3] for side in range(20, 80, 4)]
    pq.write_table(pa.table({"image": [recoloured(data) for data in small]}), tmp_path / "more.parquet")
    rows = [{"id": str(n), "images": [png(PICTURES[9]), data]} for n, data in enumerate(small)]
    alone, both = HeldOut(against=(held_out,)), HeldOut(against=(held_out, str(tmp_path / "more.parquet")))
    caught = [n for n, out in enumerate(alone.score(rows, DirectRun())) if alone.decide(out)]
    among = both.score(rows, DirectRun())
    assert all(both.decide(among[n]) for n in caught)
    assert sum(among[n]["held_out_colour"] > both.max_colour for n in caught) > 5, "of which others are nearer by hash"


def test_another_file_is_another_setting(held_out, tmp_path):
    first = HeldOut(against=(held_out,))
    assert HeldOut(against=first.against) == first
    pq.write_table(pa.table({"image": [png(PICTURES[5])]}), held_out)
    assert HeldOut(against=(held_out,)) != first
    for wrong in ((), (str(tmp_path / "none.parquet"),)):
        with pytest.raises(ValidationError):
            HeldOut(against=wrong)


@pytest.mark.parametrize("written", ["test.parquet", "~/test.parquet"])
def test_held_out_files_beside_the_recipe_or_at_home_are_found_from_anywhere(held_out, tmp_path, monkeypatch, written):
    """Oracle: the digest of the file, and its rows found in a build that is made elsewhere."""
    (tmp_path / "recipe.toml").write_text(
        '[dataset]\nname = "x"\nrecord = "VisualInstruction"\nlicense = "cc0-1.0"\n[source]\nstorybook = { rows = 1 }\n'
        f'[[stages]]\nuse = "visual_questions"\nper_scene = 1\n[[stages]]\nuse = "held_out"\nagainst = ["{written}"]\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (name,) = limbeck.load(tmp_path / "recipe.toml").stages[1].stage.against
    assert name == HeldOut(against=(held_out,)).against[0].replace(held_out, written)
    limbeck.build(tmp_path / "recipe.toml", "out")
    scored = pq.read_table(next(Path("out/stages/02-held_out").glob("*.parquet"))).to_pylist()
    assert scored
    assert all(row["held_out.held_out_bits"] is not None for row in scored)


def test_a_build_is_read_without_its_held_out_file_and_not_made(held_out, tmp_path):
    """Settings with a known digest are taken as they are; scoring looks at the file and refuses another one."""
    first = HeldOut(against=(held_out,))
    rows = [{"id": "a", "images": [png(PICTURES[0])]}]
    pq.write_table(pa.table({"image": [png(PICTURES[5])]}), held_out)
    with pytest.raises(SettingError, match="is not what it was"):
        HeldOut(against=first.against).score(rows, DirectRun())
    Path(held_out).unlink()
    assert HeldOut(against=first.against) == first
    with pytest.raises(SettingError, match="can't read"):
        HeldOut(against=first.against).score(rows, DirectRun())
    pq.write_table(pa.table({"text": ["no picture"]}), held_out)
    with pytest.raises(SettingError, match="no picture"):
        HeldOut(against=(held_out,)).score(rows, DirectRun())


def test_repeats():
    rows = [
        {"id": "b", "messages": [user(0, "What is it?"), assistant("A.")], "images": [b"1"]},
        {"id": "a", "messages": [user("what is it", 0), assistant("B.")], "images": [b"1"]},
        {"id": "c", "messages": [user(0, "What is it?"), assistant("A.")], "images": [b"2"]},
        {"id": "d", "messages": [user(0, "Who is it?"), assistant("A.")], "images": [b"1"]},
        {"id": "e", "messages": [user("What is it?"), assistant("A.")], "images": None},
    ]
    for seed in range(4):
        random.Random(seed).shuffle(rows)
        assert repeats(rows) == {"b"}


def test_without_pictures_the_scenes_say_whether_it_is_the_same_one():
    """`visual_questions.pictures = false` leaves scenes alone; a row with neither repeats nothing."""
    scenes = [row["scene"] for row in storybook(2)]
    asked = {"messages": [user("What is it?"), assistant("A.")]}
    rows = [
        {"id": "a", **asked, "images": [], "scenes": scenes[:1]},
        {"id": "b", **asked, "images": None, "scenes": scenes[:1]},
        {"id": "c", **asked, "images": [], "scenes": scenes[1:]},
        {"id": "d", **asked, "images": [], "scenes": scenes},
        {"id": "e", **asked, "images": [], "scenes": []},
        {"id": "f", **asked, "images": None, "scenes": None},
        {"id": "g", **asked, "images": []},
        {"id": "h", **asked, "images": [b"1"], "scenes": scenes[:1]},
        {"id": "i", **asked, "images": [b"1"], "scenes": scenes[1:]},
    ]
    assert repeats(rows) == {"b", "i"}
    assert repeats(rows[4:7]) == set(), "all of them unknown"
    for pictures in (True, False):
        found = made(VisualQuestions(pictures=pictures, minimal_pairs=0), storybook(20))
        assert len(repeats(found)) < 0.02 * len(found)
        twice = [*found, *({**row, "id": f"{row['id']}/again"} for row in found[:9])]
        assert len(repeats(twice) - repeats(found)) == 9
