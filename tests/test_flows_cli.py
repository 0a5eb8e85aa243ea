"""The command line on real small builds: oracles are files on disk, `limbeck.open_build`, and a golden help page."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from toy_recipes import data_digest, toy_recipe

import limbeck
from limbeck.launch import main

GOLDEN = Path(__file__).parent / "golden" / "cli_help.txt"
REGENERATE = "LIMBECK_WRITE_GOLDEN=1 python -m pytest tests/test_flows_cli.py -k golden"
CAPTIONS = [f"a red house number {i}" + (" odd" if i % 5 == 0 else "") for i in range(12)]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    recipe = toy_recipe(folder, CAPTIONS)
    assert main(["run", str(recipe), "--out", str(folder / "out"), "--direct"]) == 0
    return folder / "out"


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def help_pages(capsys, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    from flows.cli import COMMANDS

    pages = [run(capsys, "--help")[1]]
    pages += [run(capsys, name, "--help")[1] for commands in COMMANDS.values() for name in commands]
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(pages))  # some CI systems count as terminals
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def test_help_is_the_golden_one(capsys, monkeypatch):
    found = help_pages(capsys, monkeypatch)
    if os.environ.get("LIMBECK_WRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8"), f"help changed; if that is meant: {REGENERATE}"


def test_run_says_what_was_kept_and_where_to_look(tmp_path, capsys):
    recipe = toy_recipe(tmp_path, CAPTIONS)
    code, out, err = run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct")
    built = limbeck.open_build(tmp_path / "out")
    last = built.funnel()[-1]
    assert code == 0
    assert f"{last.kept} of " in out
    assert "odd 3" in out  # rows 0, 5 and 10
    assert str(tmp_path / "out" / "report" / "index.html") in out
    assert "instruct: 12/12" in err


def test_a_run_that_makes_nothing_says_so(tmp_path, capsys):
    recipe = toy_recipe(tmp_path, [f"an odd house {i}" for i in range(5)])
    code, out, _ = run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct")
    assert code == 0
    assert "no row was made of 5 source rows" in out
    assert "odd 5" in out
    assert "load_dataset" not in out


def test_the_same_command_again_does_nothing_and_says_so(built, capsys):
    before = data_digest(built)
    code, _, err = run(capsys, "run", built.parent / "recipe.toml", "--out", built, "--direct")
    assert code == 0
    assert err.count("done before") >= 2
    assert data_digest(built) == before


def test_status_as_json_has_the_builds_own_figures(built, capsys):
    code, out, _ = run(capsys, "status", built, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["finished"]
    assert found["parts"]["instruct"] == [3, 3]
    assert [c["kept"] for c in found["funnel"]] == [c.kept for c in limbeck.open_build(built).funnel()]


def test_status_of_an_interrupted_build_counts_the_parts_that_are_through(built, tmp_path, capsys):
    import shutil

    half = tmp_path / "half"
    shutil.copytree(built, half)
    shutil.rmtree(half / "data")
    for file in half.glob("stages/*-sample/part-00002.*"):
        file.unlink()
    code, out, _ = run(capsys, "status", half, "--json")
    found = json.loads(out)
    assert code == 0
    assert not found["finished"]
    assert found["parts"]["sample"] == [2, 3]
    assert found["funnel"][0]["rows"] == 8  # of 3 parts of 4, the two that are through


def test_refilter_changes_what_is_kept(tmp_path, capsys):
    recipe = toy_recipe(tmp_path, CAPTIONS)
    run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct")
    code, out, _ = run(capsys, "refilter", tmp_path / "out", "--set", "lucky.min_luck=0.94")
    assert code == 0
    kept = sum(1 for _ in limbeck.open_build(tmp_path / "out").rows())
    assert out.lstrip().startswith(f"{kept} of ")
    assert run(capsys, "refilter", tmp_path / "out", "--set", "sample.samples=2")[0] == 2


def test_row_made_again_is_the_same(built, capsys):
    row_id = next(limbeck.open_build(built).rows())["id"]
    code, out, _ = run(capsys, "row", built, row_id, "--again")
    assert code == 0
    again = out.partition("made again")[2].strip().splitlines()
    assert len(again) >= 5
    assert all(line.endswith(": the same") for line in again)


def test_row_made_again_sees_a_difference(built, tmp_path, capsys):
    import shutil

    from limbeck import store

    other = tmp_path / "other"
    shutil.copytree(built, other)
    row_id = next(limbeck.open_build(other).rows())["id"]
    for part in limbeck.open_build(other).parts:  # somebody wrote other captions into the build
        folder = limbeck.open_build(other).folder(1)
        table, manifest = store.read_part(folder, part), store.read_manifest(folder, part)
        column = table.schema.get_field_index("edit_prompt")
        changed = table.set_column(column, table.schema.field(column), [["make it red"] * table.num_rows])
        store.write_part(folder, part, changed, manifest)
    _, out, _ = run(capsys, "row", other, row_id, "--again")
    assert "instruct.edit_prompt: was 'make it red', is 'make it at night'" in out


def test_row_that_isnt_there(built, capsys):
    code, _, err = run(capsys, "row", built, "nobody/0")
    assert code == 2
    assert "nobody" in err


CONVERSATIONS = """
dataset = { name = "q", record = "VisualInstruction" }
source = { storybook = { rows = 2 } }
[[stages]]
use = "visual_questions"
"""


def test_row_of_a_conversation_is_words_and_its_source_says_what_was_made_of_it(tmp_path, capsys):
    (tmp_path / "q.toml").write_text(CONVERSATIONS)
    run(capsys, "run", tmp_path / "q.toml", "--out", tmp_path / "out", "--direct")
    row = next(limbeck.open_build(tmp_path / "out").rows())
    _, out, _ = run(capsys, "row", tmp_path / "out", row["id"])
    assert "PNG 64 x 64" in out
    assert "\\x" not in out
    assert f"assistant: {row['messages'][1]['content'][0]['text']}" in out
    _, out, _ = run(capsys, "row", tmp_path / "out", row["source_id"])
    made = out.partition("made of it")[2].split("\n")
    assert [row["id"], "kept"] in [line.split() for line in made]


def test_row_of_a_build_that_stopped_ends_where_it_came(tmp_path, capsys):
    recipe = toy_recipe(tmp_path, CAPTIONS)
    run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct")
    row_id = next(limbeck.open_build(tmp_path / "out").rows())["id"]
    lock = json.loads((tmp_path / "out" / "lock.json").read_text())
    del lock["result"]
    (tmp_path / "out" / "lock.json").write_text(json.dumps(lock))
    for path in (tmp_path / "out" / "stages").glob("03-*/part-*"):
        path.unlink()
    (tmp_path / "out" / "stages" / "verdicts.parquet").unlink()
    code, out, _ = run(capsys, "row", tmp_path / "out", row_id)
    assert code == 0
    assert "verdict" not in out


def test_more_failures_than_allowed_is_1(tmp_path, capsys):
    recipe = toy_recipe(tmp_path, [f"broken {i}" for i in range(8)])
    code, _, err = run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct")
    assert code == 1
    assert "max_error_rate" in err
    assert "can't read 'broken" in err  # what went wrong, not only how often
    assert "Traceback" not in err


def test_every_problem_of_a_recipe_comes_at_once(tmp_path, capsys):
    recipe = toy_recipe(tmp_path, CAPTIONS, lucky="min_lukc = 1", run="part_row = 2")
    code, _, err = run(capsys, "run", recipe)
    assert code == 2
    assert "did you mean 'min_luck'?" in err
    assert "did you mean 'part_rows'?" in err


@pytest.mark.parametrize("shard", ["2/2", "x", "1", "-1/2", "1/"])
def test_a_shard_that_isnt_one(tmp_path, capsys, shard):
    recipe = toy_recipe(tmp_path, CAPTIONS)
    assert run(capsys, "run", recipe, "--shard", shard, "--direct")[0] == 2


def test_shards_share_a_build(built, tmp_path, capsys):
    recipe = toy_recipe(tmp_path, CAPTIONS)
    code, _, err = run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct", "--shard", "0/2")
    assert code == 0
    assert "others still work" in err
    run(capsys, "run", recipe, "--out", tmp_path / "out", "--direct", "--shard", "1/2")
    assert data_digest(tmp_path / "out") == data_digest(built)


def test_preview_takes_a_few_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "preview", toy_recipe(tmp_path, CAPTIONS), "-n", "3", "--no-open")
    assert code == 0
    assert (tmp_path / "builds" / "toys-preview" / "report" / "index.html").is_file()
    assert limbeck.open_build("builds/toys-preview").funnel()[0].rows == 3
    assert "index.html" in out


def test_estimate_counts_the_whole_source(tmp_path, capsys):
    code, out, _ = run(capsys, "estimate", toy_recipe(tmp_path, 40), "-n", "8", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["rows"], found["measured"]) == (40, 8)
    assert found["kept"]["low"] <= found["kept"]["value"] <= found["kept"]["high"]
    assert found["seconds"]["value"] > 0
    assert found["cost"] is None


def test_stages_lists_every_stage_file(capsys):
    code, out, _ = run(capsys, "stages", "--json")
    files = {
        p.stem for folder in ("generators", "filters") for p in (Path(__file__).parent.parent / folder).glob("[!_]*.py")
    }
    assert code == 0
    assert {each["name"] for each in json.loads(out)} >= files
    own = [s for each in json.loads(out) for s in each["settings"] if "." not in s["name"]]
    assert all(s["doc"] for s in own), "a setting without a word about it"


def test_stages_tells_all_about_one(capsys):
    code, out, _ = run(capsys, "stages", "clip_pair")
    assert code == 0
    for word in ("min_direction", "direction_low", "clip_sim_dir", "a threshold", "names a score model"):
        assert word in " ".join(out.split())


def test_init_writes_a_recipe_once(tmp_path, capsys):
    file = tmp_path / "my kites.toml"
    assert run(capsys, "init", file)[0] == 0
    assert 'name = "my-kites"' in file.read_text()
    code, _, err = run(capsys, "init", file)
    assert code == 2
    assert "--force" in err
    assert run(capsys, "init", file, "--force")[0] == 0


def test_doctor_as_json_shows_no_secret(capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    _, out, _ = run(capsys, "doctor", "--json")
    topics = {each["topic"]: each for each in json.loads(out)}
    assert {"Python", "packages", "memory", "disk", "Hub", "miniatures", "Prefect"} <= topics.keys()
    assert topics["OPENAI_API_KEY"]["found"] == "is set"
    assert "sk-very-secret" not in out
