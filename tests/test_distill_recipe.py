"""Recipes of students: every problem at once, each with its key. Oracle: by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_student import USE, toy_student_recipe

from distill.recipe import load
from distill.tables import TrainTable
from limbeck.errors import RecipeError

ROOT = Path(__file__).parent.parent


def problems(path, **options):
    with pytest.raises(RecipeError) as error:
        load(path, **options)
    return {problem.key: f"{problem.found} | {problem.remedy}" for problem in error.value.problems}


def test_every_problem_is_named_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        """
        [distill]
        name = "no good"
        sede = 1
        [source]
        captions = "c.txt"
        build = "out"
        [models]
        teacher = "mini:llm"
        [student]
        use = "encoder"
        teacher = "techer"
        hidden = 3
        [budget]
        labelled = 0
        [train]
        stesp = 3
        lr = "fast"
        weights = { featrue = 1.0 }
        phases.second = { steps = 3 }
        adapter = { kind = "lora", rnak = 2 }
        [arms]
        names = ["labels", "shame"]
        [evaluate]
        judge = "me"
        test_split = "validation"
        [export]
        formats = ["onnx"]
        max_loss = { onnx-int4 = 0.1 }
        [exports]
        """
    )
    found = problems(path)
    assert "distill.name" in found
    assert "did you mean 'seed'?" in found["distill.sede"]
    assert "exactly one of" in found["source"]
    assert "did you mean 'hidden_size'?" in found["student.hidden"]
    assert "greater than or equal to 1" in found["budget.labelled"]
    assert "did you mean 'steps'?" in found["train.stesp"]
    assert "found 'fast'" in found["train.lr"]
    assert "adapter.rnak" in " ".join(found)
    assert "did you mean 'sham'?" in " ".join(v for k, v in found.items() if k.startswith("arms"))
    assert "two splits" in found["evaluate"]
    assert "did you mean 'export'?" in found["exports"]


def test_what_the_student_does_not_know_is_named(tmp_path):
    path = toy_student_recipe(tmp_path)
    sets = [
        "train.weights.fitt=2.0",
        "train.phases.second={steps=1}",
        "train.phases.train={weights={fit=2.0}}",
        'export.formats=["onnx"]',
        "export.max_loss.onnx-int4=0.1",
        "evaluate.judge=me",
        'arms.names=["both","shame"]',
    ]
    found = problems(path, sets=sets[:-1])
    assert "did you mean 'fit'?" in found["train.weights.fitt"]
    assert "no such phase" in found["train.phases.second"]
    assert "the same in all phases" in found["train.phases.train.weights"]
    assert "doesn't leave as 'onnx'" in found["export.formats"]
    assert "did you mean 'onnx-int8'?" in found["export.max_loss.onnx-int4"]
    assert "no judge 'me'" in found["evaluate.judge"]
    assert "did you mean 'sham'?" in problems(path, sets=sets[-1:])["arms.names"]


def test_models_have_to_play_their_role(tmp_path):
    text = (ROOT / "recipes" / "distill-encoder.toml").read_text()
    (tmp_path / "r.toml").write_text(text.replace('"mini:clip"', '"mini:llm"', 1))
    assert "needs score" in problems(tmp_path / "r.toml")["models.teacher"]


def test_the_recipe_of_a_dataset_is_sent_to_limbeck_run():
    found = problems(ROOT / "recipes" / "smoke.toml")
    assert "limbeck run" in found["stages"]


def test_the_recipe_of_a_student_is_sent_to_limbeck_distill():
    from limbeck.recipe import load as load_dataset

    with pytest.raises(RecipeError, match="limbeck distill"):
        load_dataset(ROOT / "recipes" / "distill-encoder.toml")


def test_a_student_that_is_not_there(tmp_path):
    text = toy_student_recipe(tmp_path).read_text()
    (tmp_path / "a.toml").write_text(text.replace(f'"{USE}"', '"encodr"'))
    assert "Did you mean 'encoder'?" in problems(tmp_path / "a.toml")["student.use"]
    (tmp_path / "b.toml").write_text(text.replace(":Toy", ":Toi"))
    assert "Did you mean 'Toy'?" in problems(tmp_path / "b.toml")["student.use"]


def test_a_file_that_is_not_there_and_one_that_is_not_toml(tmp_path):
    assert "no such file" in problems(tmp_path / "no.toml")[str(tmp_path / "no.toml")]
    (tmp_path / "x.toml").write_text("[distill\n")
    assert "is not TOML" in problems(tmp_path / "x.toml")[str(tmp_path / "x.toml")]


def test_overrides(tmp_path):
    path = toy_student_recipe(tmp_path)
    recipe = load(path, sets=["train.steps=7", "student.width=3", "distill.seed=9"])
    assert (recipe.train.steps, recipe.student.width, recipe.distill.seed) == (7, 3, 9)
    assert load(recipe, sets=["train.steps=8"]).train.steps == 8
    assert "did you mean 'train'?" in problems(path, sets=["trian.steps=7"])["--set trian.steps=7"]


def test_a_phase_differs_in_what_it_says_alone():
    table = TrainTable(steps=100, lr=0.5, phases={"align": {"steps": 7}})
    assert (table.phase("align").steps, table.phase("align").lr) == (7, 0.5)
    assert (table.phase("other").steps, table.phase("other").lr) == (100, 0.5)


@pytest.mark.parametrize("restarts", [[100], [50, 50], [10], [200]])
def test_restarts_lie_between_warmup_and_the_end(restarts):
    with pytest.raises(ValueError, match="expected rising steps between warmup = 10 and steps = 100"):
        TrainTable(steps=100, warmup=10, restarts=restarts)
    assert TrainTable(steps=100, warmup=10, restarts=[11, 99]).restarts == (11, 99)


def test_the_peak_of_further_rounds_needs_rounds():
    with pytest.raises(ValueError, match="expected `restarts` beside it"):
        TrainTable(steps=100, restart_lr=0.1)
    assert TrainTable(restart_lr=0.1, phases={"tune": {"restarts": [150]}}).phase("tune").restart_lr == 0.1


def test_what_weights_do_not_depend_on_trains_nothing_anew():
    """By hand: names, licences, models of others, what the card shows, how a step is cut; and what does count."""

    def digest(*sets):
        return load(ROOT / "recipes/distill-editor.toml", sets=sets).training_digest()

    plain = digest()
    for incidental in (
        "distill.title=Another", "distill.license=mit", "models.other=mini:clip", "student.curve_rows=7",
        "student.curve_steps=[1, 2]", "train.micro_batch=2", "export.latency_runs=9", "evaluate.test_rows=9",
    ):  # fmt: skip
        assert digest(incidental) == plain, incidental
    for counts in (
        "distill.seed=99",
        "models.painter=somewhere/else",
        "student.dropout=0.1",
        "train.phases.edit.lr=1e-5",
    ):
        assert digest(counts) != plain, counts


def test_checking_a_recipe_loads_no_torch():
    """A slip of the pen is told at once. Oracle: sys.modules of a fresh interpreter."""
    code = (
        "import sys; from distill.recipe import load; load('recipes/distill-encoder.toml');"
        "print([m for m in ('torch', 'transformers', 'accelerate', 'prefect') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"
