"""Every recipe of the project, found recursively: each opens with its command, cost and expected figures, and is valid.

The oracles are `limbeck.recipe.load` and `distill.recipe.load`, which the command line uses; the counts guard against
recipes that aren't found.
"""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.recipe import is_distill_recipe
from distill.recipe import load as load_student
from limbeck.errors import RecipeError
from limbeck.recipe import load
from limbeck.starter import starter_recipe

ROOT = Path(__file__).resolve().parent.parent
EVERY = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "recipes").rglob("*.toml"))
STUDENTS = [name for name in EVERY if is_distill_recipe(tomllib.loads((ROOT / name).read_text(encoding="utf-8")))]
RECIPES = [name for name in EVERY if name not in STUDENTS]
FIRST = {
    "recipes/distill-editor-fast.toml": ["models.teacher=owner/editor"],
    "recipes/distill-vlm-taught.toml": ["models.teacher=owner/vlm"],
}
"""What stands for a model that another recipe makes first."""


def test_all_are_found():
    assert len(RECIPES) >= 7, f"recipes/ holds only {RECIPES}"
    assert len(STUDENTS) >= 1, f"recipes/ holds only {STUDENTS} of students"


@pytest.fixture
def sets(tmp_path) -> dict[str, list[str]]:
    """What stands for a user's own data."""
    names = ("original_prompt", "original_image", "edit_prompt", "edited_prompt", "edited_image")
    (tmp_path / "pairs").mkdir()
    columns = [
        pa.array([b"" if "image" in name else ""], pa.binary() if "image" in name else pa.string()) for name in names
    ]
    pq.write_table(pa.table(columns, names=names), tmp_path / "pairs" / "train.parquet")
    return {"recipes/existing-pairs.toml": [f"source.pairs={tmp_path / 'pairs'}"]}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_valid(name, sets):
    recipe = load(ROOT / name, sets=sets.get(name, []))
    assert recipe.stages
    assert load(ROOT / name, sets=sets.get(name, [])).digest() == recipe.digest()


@pytest.mark.parametrize("name", EVERY)
def test_a_recipe_opens_with_its_command_cost_and_expected_figures(name):
    first, *rest = (ROOT / name).read_text(encoding="utf-8").splitlines()
    command, table = ("distill", "[distill]") if name in STUDENTS else ("run", "[dataset]")
    assert shlex.split(first, comments=False)[1:4] == ["limbeck", command, name]
    head = [line for line in rest[: rest.index(table)] if line.startswith("#")]
    assert any(line.startswith("# Cost ") for line in head)
    assert any(line.startswith("# Expected ") for line in head)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_written_out_in_full_means_the_same(name, sets, tmp_path):
    recipe = load(ROOT / name, sets=sets.get(name, []))
    (tmp_path / "full.toml").write_text(recipe.toml(), encoding="utf-8")
    places = {name: value for name in ("captions", "images") if (value := getattr(recipe.source, name))}
    again = load(
        tmp_path / "full.toml", sets=[f"source.{name}={ROOT / 'recipes' / value}" for name, value in places.items()]
    )
    assert again.stages == recipe.stages
    assert again.models == recipe.models


@pytest.mark.parametrize("name", STUDENTS)
def test_a_students_recipe_is_valid_and_written_out_in_full_means_the_same(name, tmp_path):
    recipe = load_student(ROOT / name, sets=FIRST.get(name, []))
    (tmp_path / "full.toml").write_text(recipe.toml(), encoding="utf-8")
    again = load_student(tmp_path / "full.toml")
    assert again.student == recipe.student
    assert again.digest() == recipe.digest()


def test_the_editor_that_learns_from_a_build_has_rows_to_be_judged_by():
    """Oracle: the build that recipes/distill-editor-sd15.toml names; its captions come without splits."""
    student, build = load_student(ROOT / "recipes/distill-editor-sd15.toml"), load(ROOT / "recipes/sd15-edits.toml")
    assert {"train", student.evaluate.test_split} <= {*build.dataset.splits}


@pytest.mark.parametrize("name", STUDENTS)
def test_a_slip_of_the_pen_is_seen_in_a_students_recipe(name, tmp_path):
    text = (ROOT / name).read_text(encoding="utf-8")
    (tmp_path / "slip.toml").write_text(text.replace("[train]\n", "[train]\nstesp = 1\n", 1), encoding="utf-8")
    with pytest.raises(RecipeError, match="did you mean 'steps'"):
        load_student(tmp_path / "slip.toml")


def test_the_starter_is_valid(tmp_path):
    (tmp_path / "mine.toml").write_text(starter_recipe("mine"), encoding="utf-8")
    recipe = load(tmp_path / "mine.toml")
    assert recipe.dataset.name == "mine"
    assert [stage.id for stage in recipe.stages] == ["edit_instructions", "pairs", "clip_pair", "best_of"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_slip_of_the_pen_is_seen(name, sets, tmp_path):
    text = (ROOT / name).read_text(encoding="utf-8").replace("[[stages]]\nuse =", "[[stages]]\nuze = 1\nuse =", 1)
    assert "uze" in text
    (tmp_path / "slip.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match="uze"):
        load(tmp_path / "slip.toml", sets=sets.get(name, []))
