"""Parts that an earlier build left: never published as work of the present one. Oracle: an undisturbed build."""

import json
import shutil
from pathlib import Path

import pytest
from toy_recipes import TOYS, Watching, data_digest, toy_recipe

from limbeck.building import build, finish, refilter
from limbeck.built import open_build
from limbeck.errors import BuildNotFound, WorkError
from limbeck.plan import make_plan
from limbeck.recipe import load
from limbeck.status import status

AGAIN = f'[[stages]]\nid = "again"\nuse = "{TOYS}:Sample"\nsamples = 2'


def run(recipe, out, *, interrupted_at=None, **options):
    watching = Watching(interrupted_at)
    return build(recipe, out, observer=watching, report=False, **options), watching.worked


def coloured(folder: Path, colour: str, rows: int = 12, **options) -> Path:
    """A recipe whose rows keep their ids whatever the colour."""
    recipe = toy_recipe(folder, rows, **options)
    lines = ({"n": i, "caption": f"a {colour} house number {i}"} for i in range(rows))
    (folder / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = recipe.read_text().replace('captions = "captions.txt"', 'captions = "captions.jsonl"\nid_column = "n"')
    recipe.write_text(text)
    return recipe


def manifests(out: Path) -> list[Path]:
    return [path for path in sorted((out / "stages").rglob("part-*.json")) if "00-source" not in path.parts]


def test_an_interrupted_rebuild_is_refused_a_refilter(tmp_path):
    recipe, out, new = toy_recipe(tmp_path, 20, unique=False), tmp_path / "out", ["instruct.suffix=by day"]
    run(recipe, out)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, out, sets=[*new, "run.parts_in_flight=1"], interrupted_at=("sample", 2))
    with pytest.raises(BuildNotFound, match="isn't finished") as refused:
        refilter(out, ["lucky.min_luck=0.1"], report=False)
    assert refused.value.expected == "a finished build"
    assert refused.value.where == str(out)
    assert f"limbeck run RECIPE --out {out}" in refused.value.remedy
    run(recipe, out, sets=new)
    refilter(out, ["lucky.min_luck=0.1"], report=False)
    run(recipe, tmp_path / "whole", sets=[*new, "lucky.min_luck=0.1"])
    assert data_digest(out) == data_digest(tmp_path / "whole")


def test_a_shard_of_a_changed_source_leaves_the_others_parts_to_do(tmp_path):
    out = tmp_path / "out"
    run(coloured(tmp_path, "red"), out)
    recipe = coloured(tmp_path, "blue")
    built, worked = run(recipe, out, shard=(0, 2))
    assert worked == {"instruct": 2, "sample": 2, "lucky": 2}
    assert built.partial
    seen = status(out)
    assert seen.parts == dict.fromkeys(worked, (2, 3)), "a part of the red houses isn't done"
    assert seen.funnel[0].rows == 8
    with pytest.raises(WorkError, match="some parts aren't done"):
        finish(make_plan(load(recipe), out), report=False)
    built, worked = run(recipe, out, shard=(1, 2))
    assert worked == {"instruct": 1, "sample": 1, "lucky": 1}
    assert built.finished
    assert {(row["original_prompt"].split()[1], row["edited_prompt"].split()[1]) for row in built.rows()} == {
        ("blue", "blue")
    }
    run(recipe, tmp_path / "whole")
    assert data_digest(out) == data_digest(tmp_path / "whole")


def test_a_shard_with_a_laxer_threshold_before_a_generator_leaves_rows_to_make(tmp_path):
    recipe, out = toy_recipe(tmp_path, 12, unique=False, best=False, more=AGAIN), tmp_path / "out"
    run(recipe, out, sets=["lucky.min_luck=0.8"])
    assert run(recipe, out, shard=(0, 2))[0].partial
    built, worked = run(recipe, out, shard=(1, 2))
    assert worked == {"again": 1}
    assert built.finished
    assert built.funnel()[-1].reasons == {}
    run(recipe, tmp_path / "whole")
    assert data_digest(out) == data_digest(tmp_path / "whole")


def test_a_shard_that_changes_what_all_parts_decide_leaves_the_others_parts_to_do(tmp_path):
    recipe, out = toy_recipe(tmp_path, 12, more=AGAIN), tmp_path / "out"
    run(recipe, out, sets=["unique.modulus=3"])
    assert run(recipe, out, shard=(0, 3))[0].partial
    assert run(recipe, out, shard=(1, 3))[0].partial
    assert run(recipe, out, shard=(2, 3))[0].finished
    assert run(recipe, out)[1] == {}
    run(recipe, tmp_path / "whole")
    assert data_digest(out) == data_digest(tmp_path / "whole")


def test_parts_that_dont_belong_together_are_refused_a_refilter(tmp_path):
    """A run that was killed as soon as it had entered the changed rows. Oracle: the rows' own words."""
    out = tmp_path / "out"
    run(coloured(tmp_path, "red"), out)
    lock = (out / "lock.json").read_bytes()
    make_plan(load(coloured(tmp_path, "blue")), out)
    (out / "lock.json").write_bytes(lock)
    assert open_build(out).finished
    with pytest.raises(BuildNotFound, match="part 0 of instruct was made of something else"):
        refilter(out, ["lucky.min_luck=0.1"], report=False)


@pytest.mark.parametrize("stage", ["instruct", "lucky"])
def test_a_part_of_other_settings_is_refused_a_refilter(tmp_path, stage):
    out = tmp_path / "out"
    run(toy_recipe(tmp_path, 12), out)
    folder = next((out / "stages").glob(f"*-{stage}"))
    manifest = json.loads((folder / "part-00001.json").read_text())
    (folder / "part-00001.json").write_text(json.dumps(manifest | {"stage_key": "another"}))
    with pytest.raises(BuildNotFound, match=f"part 1 of {stage} was made of something else"):
        refilter(out, ["lucky.min_luck=0.1"], report=False)


def test_a_build_whose_manifests_dont_say_what_they_are_made_of_is_used_as_it_is(tmp_path):
    """So did those of earlier versions; their keys say whether they are done."""
    recipe, out = coloured(tmp_path, "red", more=AGAIN), tmp_path / "out"
    run(recipe, out)
    for path in manifests(out):
        manifest = json.loads(path.read_text())
        manifest.pop("made_of", None)
        path.write_text(json.dumps(manifest))
    shutil.copytree(out, tmp_path / "refiltered")
    refilter(tmp_path / "refiltered", ["lucky.min_luck=0.5"], report=False)
    built, worked = run(recipe, out)
    assert worked == {}
    assert built.finished
    assert run(coloured(tmp_path, "blue", more=AGAIN), out, shard=(0, 2))[0].partial


def test_a_finished_build_is_finished_again_without_work_wherever_it_waits_and_drops(tmp_path):
    """With a filter between generators, a barrier, and thresholds that a refilter changed in between."""
    recipe, out = toy_recipe(tmp_path, 12, more=AGAIN), tmp_path / "out"
    run(recipe, out)
    refilter(out, ["lucky.min_luck=0.4"], report=False)
    refilter(out, ["lucky.min_luck=0.3"], report=False)
    for shard in (None, (0, 2)):
        built, worked = run(recipe, out, shard=shard)
        assert worked == {}
        assert built.finished
