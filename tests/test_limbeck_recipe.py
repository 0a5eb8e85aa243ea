"""Recipes: every problem at once, each with its key. Oracle: by hand."""

import subprocess
import sys

import pytest
from toy_recipes import TOYS, toy_recipe

from limbeck.errors import RecipeError
from limbeck.recipe import load
from limbeck.recipe_check import overridden
from limbeck.stage import settings_of


def problems(path, **options):
    with pytest.raises(RecipeError) as error:
        load(path, **options)
    return {problem.key: f"{problem.found} | {problem.remedy}" for problem in error.value.problems}


def test_every_problem_is_named_at_once(tmp_path):
    (tmp_path / "c.txt").write_text("a\n")
    path = tmp_path / "bad.toml"
    path.write_text(f"""
        [dataset]
        name = "toys"
        recrod = "EditPair"
        record = "EditPiar"
        splits = {{ train = 0.5, test = 0.4 }}
        [source]
        captions = "c.txt"
        dataset = "owner/name"
        [models]
        writer = {{ base_url = "http://localhost:1/v1", api_key = "sk-1" }}
        painter = {{ id = "mini:llm" }}
        scribe = {{ base_url = "localhost:8000/v1", model = "m" }}
        [[stages]]
        use = "edit_instructoins"
        [[stages]]
        use = "{TOYS}:Lucky"
        min_lukc = 0.5
        noise = "loud"
        by.edit_type.time = {{ noise = 0.5 }}
        [[stages]]
        use = "edit_pairs"
        image = "paintr"
        [[stages]]
        use = "judge"
        judge = "scribe"
        [runn]
    """)
    found = problems(path)
    assert "did you mean 'record'?" in found["dataset.recrod"]
    assert "did you mean 'EditPair'?" in found["dataset.record"]
    assert "add up to 0.9" in found["dataset.splits"]
    assert "exactly one of" in found["source"]
    assert "captions and dataset" in found["source"]
    assert "api_key_env" in found["models.writer"]
    assert "expected http:// or https:// and a host" in found["models.scribe"]
    assert "stages[3].judge" not in found, "it is in [models], and what is wrong with it is told there"
    assert "edit_instructions" in found["stages[0].use"]
    assert "did you mean 'min_luck'?" in found["stages[1].min_lukc"]
    assert "found 'loud'" in found["stages[1].noise"]
    assert "not a threshold" in found["stages[1].by.edit_type.time.noise"]
    assert "did you mean 'painter'?" in found["stages[2].image"]
    assert "did you mean 'run'?" in found["runn"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("[dataset\n", "is not TOML"), ("", "the table [dataset] is missing")],
)
def test_what_is_no_recipe(tmp_path, text, says):
    (tmp_path / "r.toml").write_text(text)
    assert any(says in found for found in problems(tmp_path / "r.toml").values())


def test_a_missing_file(tmp_path):
    assert "no such file" in next(iter(problems(tmp_path / "nope.toml").values()))


def test_columns_are_checked_before_anything_runs(tmp_path):
    recipe = toy_recipe(tmp_path, 3)
    text = recipe.read_text().replace('record = "EditInstruction"', 'record = "EditPair"')
    text = text.replace(f'[[stages]]\nid = "instruct"\nuse = "{TOYS}:Instruct"\n', "")
    recipe.write_text(text)
    found = " ".join(f"{key} {problem}" for key, problem in problems(recipe).items())
    for part in ("stages[0] (sample)", "'edited_prompt'", "dataset.record = 'EditPair'", "'edited_image'"):
        assert part in found


def test_models_are_checked_against_their_roles(tmp_path):
    (tmp_path / "c.txt").write_text("a\n")
    (tmp_path / "r.toml").write_text("""
        dataset = { name = "x", record = "EditInstruction" }
        source = { captions = "c.txt" }
        models = { writer = "mini:clip", other = "mini:llmm" }
        stages = [{ use = "edit_instructions" }, { id = "two", use = "edit_instructions", writer = "other" }]
    """)
    found = problems(tmp_path / "r.toml")
    assert "plays the role score; the stage needs chat" in found["models.writer"]
    assert "did you mean 'llm'?" in found["models.other"]


def test_overrides_reach_every_table(tmp_path):
    sets = [
        "sample.samples=9", "run.max_error_rate=0.25", "dataset.seed=3", "source.limit=2",
        "lucky.by.edit_type.time={min_luck = 0.7}", "instruct.suffix=in the rain",
    ]  # fmt: skip
    recipe = load(toy_recipe(tmp_path, 3), sets=sets)
    assert recipe.stage("sample").stage.samples == 9
    assert recipe.run.max_error_rate == 0.25
    assert (recipe.dataset.seed, recipe.source.limit) == (3, 2)
    assert recipe.stage("lucky").by["edit_type"]["time"].min_luck == 0.7
    assert recipe.stage("instruct").stage.suffix == "in the rain"
    found = problems(toy_recipe(tmp_path, 3), sets=["smaple.samples=9", "nonsense"])
    assert "did you mean 'sample'?" in found["--set smaple.samples=9"]
    assert "TABLE.KEY=VALUE" in found["--set nonsense"]


def test_a_models_table_can_be_overridden_by_key():
    tables = {"models": {"painter": "mini:diffusion"}}
    changed = overridden(tables, ["models.painter.dtype=bfloat16", "models.writer=mini:llm"], "r")
    assert changed["models"] == {"painter": {"id": "mini:diffusion", "dtype": "bfloat16"}, "writer": "mini:llm"}
    assert tables == {"models": {"painter": "mini:diffusion"}}


def test_the_resolved_recipe_reads_back_as_the_same(tmp_path):
    recipe = load(toy_recipe(tmp_path, 3), sets=["lucky.by.edit_type.time={min_luck = 0.7}"])
    (tmp_path / "again.toml").write_text(recipe.toml())
    again = load(tmp_path / "again.toml")
    assert again.digest() == recipe.digest()
    assert [settings_of(t.stage) for t in again.stages] == [settings_of(t.stage) for t in recipe.stages]
    assert load(tmp_path / "again.toml", sets=["run.part_rows=7"]).digest() == recipe.digest()
    assert load(tmp_path / "again.toml", sets=["lucky.noise=0.5"]).digest() != recipe.digest()


def test_no_torch_before_it_is_needed():
    code = (
        "import sys, limbeck, limbeck.building, limbeck.models, limbeck.catalog as c; c.available(); limbeck.build;"
        "bad = {'torch', 'diffusers', 'transformers', 'prefect', 'datasets'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
