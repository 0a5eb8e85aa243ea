"""The whole line on the toy student. Oracles: files on disk, who was asked and trained, figures computed from the weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_student import Toy, ToyTeacher, features, toy_student_recipe

from distill.batches import Pools
from distill.costs import extra_steps
from distill.dataset import open_dataset
from distill.distilling import distill
from distill.evaluating import evaluate_student
from distill.fruitless import LossNotFinite
from distill.progress import Watcher
from distill.publishing import ExportRefused
from distill.recipe import load
from distill.tables import TrainTable
from distill.teacher_cache import CacheMismatch
from distill.testing import check_student, model_state
from distill.work import Work
from limbeck.errors import BuildNotFound, RequestError


class Told(Watcher):
    def __init__(self):
        self.steps, self.reused, self.notes = [], [], []

    def finished(self, step, reused=False):
        (self.reused if reused else self.steps).append(step)

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    recipe = toy_student_recipe(folder, export="latency_runs = 5", views="count = 2")
    return recipe, distill(recipe, folder / "out")


def test_figures_are_those_of_the_saved_weights(done):
    """Oracle: the student loaded by hand, errors by numpy."""
    recipe, made = done
    test = [
        row
        for row in map(json.loads, (recipe.parent / "rows.jsonl").read_text().splitlines())
        if row["split"] == "test"
    ]
    model = Toy().load(made.out / "student", None)
    x = np.stack([features(row) for row in test])
    with torch.inference_mode():
        error = np.abs(model(torch.from_numpy(x)).numpy()[:, 0] - x.sum(1)).mean()
    for format, entry in made.report["formats"].items():
        assert entry["values"]["error"] == pytest.approx(error, rel=1e-5 if "fp32" in format else 0.2), format
    assert made.report["formats"]["onnx-fp32"]["difference"] < 1e-5
    assert 0 < made.report["formats"]["onnx-int8"]["p50_ms"] <= made.report["formats"]["onnx-int8"]["p95_ms"]


def test_the_card_says_what_the_report_says(done):
    _, made = done
    card = (made.out / "student" / "README.md").read_text()
    assert f"{made.report['formats']['safetensors']['values']['error']:.4f}" in card
    assert "the rows' own truth" in card
    assert "A student of `toy`, made by" in card
    assert "| teacher | `toy`, weights a | see its own card |" in card
    assert "datasets:" not in card
    assert "41 parameters, 20.5% of the teacher's 200" in card  # 3 * 8 + 8 + 8 + 1


def test_the_same_call_again_does_nothing(done):
    recipe, made = done
    ToyTeacher.asked.clear()
    told = Told()
    before = model_state(made.out / "arms")
    again = distill(recipe, made.out, watcher=told)
    assert ToyTeacher.asked == []
    assert "both 0" in told.reused
    assert {name: value.tolist() for name, value in model_state(made.out / "arms").items()} == {
        name: value.tolist() for name, value in before.items()
    }
    assert again.report["trainings"] == made.report["trainings"]


def test_another_setting_trains_anew_and_asks_nobody(tmp_path):
    recipe = toy_student_recipe(tmp_path)
    made = distill(recipe, tmp_path / "out")
    ToyTeacher.asked.clear()
    told = Told()
    again = distill(recipe, tmp_path / "out", watcher=told, sets=["train.lr=0.02"])
    assert "both 0" in told.steps
    assert ToyTeacher.asked == []
    assert again.report["trainings"][0]["values"] != made.report["trainings"][0]["values"]


def test_a_training_of_other_settings_is_kept_and_comes_back_with_them(tmp_path):
    """Oracle: the weights' bytes, and whether anything was trained; how a step is cut doesn't count as another setting."""
    recipe, weights = toy_student_recipe(tmp_path), Path("both-0", "model", "model.safetensors")
    out = distill(recipe, tmp_path / "out").out
    first = (out / "arms" / weights).read_bytes()
    told = Told()
    distill(recipe, out, watcher=told, sets=["train.lr=0.02"])
    assert "both 0" not in told.reused
    (kept,) = (out / "earlier").iterdir()
    assert (kept / "model" / "model.safetensors").read_bytes() == first != (out / "arms" / weights).read_bytes()
    for incidental in ([], ["train.micro_batch=3", "train.checkpoint_every=9", "train.workers=1"]):
        told = Told()
        distill(recipe, out, watcher=told, sets=incidental)
        assert "both 0" in told.reused
        assert (out / "arms" / weights).read_bytes() == first
    assert len([*(out / "earlier").iterdir()]) == 1


def test_other_test_rows_are_scored_without_training(tmp_path):
    """Oracle: the weights' bytes, how many rows were scored, and a training that had these test rows from the start."""
    recipe, weights = toy_student_recipe(tmp_path), Path("arms", "both-0", "model", "model.safetensors")
    out = distill(recipe, tmp_path / "out").out
    first = (out / weights).read_bytes()
    fewer, told = ["evaluate.test_rows=5"], Told()
    again = distill(recipe, out, watcher=told, sets=fewer)
    assert "both 0" not in told.steps
    assert (out / weights).read_bytes() == first
    assert {len(values) for values in again.trainings[0].scores.items.values()} == {5}
    anew = distill(recipe, tmp_path / "anew", sets=fewer)
    assert again.report["trainings"][0]["values"] == anew.report["trainings"][0]["values"]
    told = Told()
    distill(recipe, out, watcher=told, sets=fewer)
    assert "both 0" in told.reused


def test_the_comparison_needs_no_more_of_the_teacher_than_its_seeds(tmp_path):
    told = Told()
    recipe = toy_student_recipe(tmp_path, arms="seeds = 2")
    made = distill(recipe, tmp_path / "out", arms=True, watcher=told)
    names = [f"{arm} {seed}" for seed in (0, 1) for arm in ("both", "labels", "teacher", "longer", "sham")]
    assert [step for step in told.steps if step[-1] in "01" and "evaluate" not in step] == names
    compared = made.report["comparison"]
    assert compared["descriptive"]
    assert {*compared["metrics"]["error"]["arms"]} == {"labels", "teacher", "both", "longer", "sham"}
    assert "over labels alone" in (made.out / "student" / "README.md").read_text()
    steps = {t["arm"]: t["facts"]["train"]["steps"] for t in made.report["trainings"] if t["seed"] == 0}
    # 96 rows teach: 96 of 200 parameters over 3 * 16 rows of 41; 12 to look at and 12 to judge by aren't counted
    assert steps["longer"] == steps["labels"] + round(96 * 200 / (3 * 16 * 41))


def test_what_the_teachers_compute_buys_by_hand(monkeypatch):
    """Two rows of three views that teach and a third that doesn't, in batches of 4.

    A pass costs the teacher 60 multiply-adds and the student 10; they have 8 parameters and 4.
    By multiply-adds 6 / 4 * 60 / 30 = 3 steps, shared by two phases; the first also asks the teacher twice for each row
    of its 5 steps, which is 5 * 2 * 60 / 30 = 20 more. Where the student's aren't known, parameters: 8 / 12 of each.
    """

    class Both(Toy):
        phases = ("a", "b")

        def teacher_passes(self, phase):
            return 2.0 * (phase == "a")

    facts = {"macs": 60, "parameters": 8}
    cache = type("C", (), {"facts": facts, "views": lambda self, row_id: 3})()
    recipe = type("R", (), {"student": Both(), "train": TrainTable(steps=5, batch_size=4)})()
    dataset = type("D", (), {"ids": ["1", "2", "3"]})()
    nothing = np.zeros(0, np.int64)
    monkeypatch.setattr(
        "distill.costs.batches.pools", lambda *_: Pools(np.array([0, 1]), nothing, nothing, np.array([2]))
    )
    work = Work(recipe, dataset, cache=cache, memo={"macs": 10, "parameters": 4})
    assert [extra_steps(work, phase) for phase in "ab"] == [round(20 + 1.5), round(1.5)]
    del facts["macs"]
    assert [extra_steps(work, phase) for phase in "ab"] == [round((10 + 0.75) * 8 / 12), round(0.75 * 8 / 12)]
    assert extra_steps(work.with_(cache=None), "b") == 0


def test_seeds_of_one_arm_say_nothing_of_a_teacher(tmp_path):
    """Oracle: a card with an interval over its seeds, and no comparison of one thing."""
    recipe = toy_student_recipe(tmp_path, arms='seeds = 2\narm = "labels"\nnames = ["labels"]')
    card = (distill(recipe, tmp_path / "out", arms=True).out / "student" / "README.md").read_text()
    assert "student, 2 seeds" in card
    assert "teacher added" not in card


def test_paired_trainings_start_alike(tmp_path):
    """Oracle: with a learning rate of next to nothing the first weights come back: the same in each arm of a seed."""
    recipe = toy_student_recipe(
        tmp_path, arms='seeds = 2\nnames = ["labels", "both"]', train="steps = 1\nlr = 1e-30\nema = 0.0"
    )
    out = distill(recipe, tmp_path / "out", arms=True).out / "arms"
    state = {
        n: model_state(out / n / "model")["model.safetensors:1.weight"]
        for n in ("labels-0", "both-0", "labels-1", "both-1")
    }
    assert torch.equal(state["labels-0"], state["both-0"])
    assert torch.equal(state["labels-1"], state["both-1"])
    assert not torch.equal(state["labels-0"], state["labels-1"])


def test_an_interrupted_line_ends_bit_equal(tmp_path):
    """Killed in the middle of the training by its progress. Oracle: the undisturbed line."""
    settings = {
        "student": "dropout = 0.2",
        "train": "steps = 30\nbatch_size = 16\ncheckpoint_every = 7\nevaluate_every = 15",
    }
    whole = distill(toy_student_recipe(tmp_path / "a", **settings), tmp_path / "a" / "out")

    class Kills(Watcher):
        def advanced(self, step, done, figures=None):
            if step == "both 0" and done > 20:
                raise KeyboardInterrupt

    recipe = toy_student_recipe(tmp_path / "b", **settings)
    with pytest.raises(KeyboardInterrupt):
        distill(recipe, tmp_path / "b" / "out", watcher=Kills())
    again = distill(recipe, tmp_path / "b" / "out")
    a, b = (model_state(made.out / "arms" / "both-0" / "model") for made in (whole, again))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.report["trainings"][0]["values"] == again.report["trainings"][0]["values"]


def test_a_loss_that_is_not_a_number_names_the_rows(tmp_path):
    recipe = toy_student_recipe(tmp_path)
    bad = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])["caption"]
    with pytest.raises(LossNotFinite) as error:
        distill(recipe, tmp_path / "out", sets=[f"student.nan_caption='{bad}'"])
    dataset = open_dataset(load(recipe), tmp_path / "out")
    named = {dataset.row(dataset.at(row_id))["caption"] for row_id in error.value.ids}
    assert bad in named
    assert error.value.exit_code == 1


def test_bfloat16_that_a_cpu_is_slow_at_is_float32(tmp_path, monkeypatch):
    """Oracle: bit-equal to a training in float32 where the CPU is slower at bfloat16, and not where it is faster."""
    trained = {}
    for name, sets, speed in (
        ("float32", [], 0.0),
        ("slow", ["train.precision=bf16"], 0.5),
        ("quick", ["train.precision=bf16"], 2.0),
    ):
        monkeypatch.setattr("distill.work.bf16_speed", lambda speed=speed: speed)
        told = Told()
        made = distill(
            toy_student_recipe(tmp_path / name), tmp_path / name / "out", sets=sets, watcher=told, device="cpu"
        )
        trained[name] = model_state(made.out / "student")
        assert [note for note in told.notes if "bf16" in note] == (
            ["bf16 is slow on this CPU: both 0 learns in float32, which is faster here"] if name == "slow" else []
        )
    same = {name: all(torch.equal(state[k], trained["float32"][k]) for k in state) for name, state in trained.items()}
    assert same == {"float32": True, "slow": True, "quick": False}


@pytest.mark.parametrize(
    ("sets", "found"),
    [
        (["evaluate.judge='mini:reader'"], "'mini:reader' would never be asked"),
        (["export.formats=['safetensors', 'onnx-fp16']"], "export.formats: onnx-fp16 can't be written here"),
        (["evaluate.test_split=tset"], "has no split 'tset'"),
    ],
)
def test_what_cannot_end_well_is_told_before_the_training_and_leaves_what_is_finished(
    done, tmp_path, monkeypatch, sets, found
):
    """Oracle: the refused call changes no file of the finished student, which can still be evaluated."""
    recipe, made = done
    shutil.copytree(made.out, tmp_path / "out")
    monkeypatch.setattr("distill.opening.exports.at_hand", lambda name: name != "onnx-fp16")
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    with pytest.raises(RequestError, match=found):
        distill(recipe, tmp_path / "out", sets=sets)
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")} == before
    assert evaluate_student(tmp_path / "out")["formats"]["safetensors"]["values"]["error"] == pytest.approx(
        made.report["formats"]["safetensors"]["values"]["error"]
    )


def test_the_student_of_an_earlier_call_stays_until_the_next_one_is_whole(tmp_path, monkeypatch):
    """Oracle: files before and after an export that fails half-way."""
    recipe = toy_student_recipe(tmp_path)
    made = distill(recipe, tmp_path / "out")
    before = model_state(made.out / "student")

    def fail(*args, **kwargs):
        raise RuntimeError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr("distill.publishing.exports.write", fail)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            distill(recipe, made.out, sets=["train.lr=0.02", "export.formats=['onnx-fp32']"])
    same = model_state(made.out / "student")
    assert all(torch.equal(same[name], before[name]) for name in before)
    again = distill(recipe, made.out, sets=["train.lr=0.02", "export.formats=['onnx-fp32']"])
    assert not all(torch.equal(model_state(made.out / "student")[name], before[name]) for name in before)
    assert again.report["formats"]["onnx-fp32"]["file"] == "student/onnx/model.onnx"
    assert (made.out / again.report["formats"]["onnx-fp32"]["file"]).is_file()
    assert not list(made.out.glob(".student*"))


def test_intervals_take_rows_of_one_group_together(tmp_path):
    """A student that says nothing of groups gets the dataset's. Oracle: groups of the test rows by hand."""
    recipe = toy_student_recipe(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for n, row in enumerate(rows):
        row["group"] = f"{row['split']} {n // 30}"
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (training,) = distill(recipe, tmp_path / "out").trainings
    assert training.scores.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_rows_of_a_changed_file_are_read_anew(tmp_path):
    """Oracle: the file by hand."""
    recipe = toy_student_recipe(tmp_path)
    assert len(open_dataset(load(recipe), tmp_path / "out")) == 120
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    (tmp_path / "rows.jsonl").write_text("\n".join(lines[:50]))
    assert len(open_dataset(load(recipe), tmp_path / "out")) == 50


def test_a_cache_of_another_teacher_is_refused(tmp_path):
    recipe = toy_student_recipe(tmp_path)
    distill(recipe, tmp_path / "out")
    with pytest.raises(CacheMismatch, match="weights differ") as error:
        distill(recipe, tmp_path / "out", sets=["student.weights=b"])
    assert error.value.exit_code == 2
    distill(recipe, tmp_path / "out", sets=["student.weights=b", f"cache.folder={tmp_path / 'other'}"])


def test_a_warm_up_that_never_ends_is_told(tmp_path):
    told = Told()
    distill(toy_student_recipe(tmp_path), tmp_path / "out", sets=["train.warmup=100"], watcher=told)
    assert told.notes == ["both 0: warmup = 100 of 20 steps; its rate never gets to its peak"]


def test_a_student_larger_than_its_teacher_is_a_warning(tmp_path):
    told = Told()
    distill(toy_student_recipe(tmp_path), tmp_path / "out", sets=["student.width=100"], watcher=told)
    assert told.notes == ["warning: the student has 501 parameters, more than its teacher's 200"]


def test_a_dataset_of_another_task_is_refused_before_anything_is_computed(tmp_path):
    """A build of edit pairs has no column `caption`. Oracle: by hand; the teacher isn't asked."""
    from toy_recipes import toy_recipe

    import limbeck

    built = limbeck.build(toy_recipe(tmp_path / "build", ["a red house", "a blue house"]), tmp_path / "build" / "out")
    recipe = toy_student_recipe(tmp_path)
    text = recipe.read_text().replace('captions = "rows.jsonl"', f'build = "{built.path}"')
    recipe.write_text(text)
    ToyTeacher.asked.clear()
    with pytest.raises(
        RequestError, match="has no column 'caption', which the student 'toy' reads; its rows are"
    ) as error:
        distill(recipe, tmp_path / "out")
    assert error.value.where == "source.build"
    assert ToyTeacher.asked == []


def test_a_format_that_loses_too_much_is_refused_and_its_file_is_gone(tmp_path):
    """int8 of a tiny network always loses something; a budget of nothing refuses it. Report and card say so."""
    recipe = toy_student_recipe(
        tmp_path,
        export='formats = ["onnx-fp32", "onnx-int8"]\nlatency_runs = 5\nmax_loss = { default = 1.0, onnx-int8 = 0.0 }',
    )
    with pytest.raises(ExportRefused, match="onnx-int8 loses") as error:
        distill(recipe, tmp_path / "out")
    assert error.value.exit_code == 1
    assert {*error.value.formats} == {"onnx-int8"}
    assert not (tmp_path / "out" / "student" / "onnx" / "model_int8.onnx").exists()
    assert (tmp_path / "out" / "student" / "onnx" / "model.onnx").is_file()
    assert "refused: loses" in (tmp_path / "out" / "student" / "README.md").read_text()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    recipe = toy_student_recipe(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years")
    with pytest.raises(BuildNotFound, match="holds no student"):
        distill(recipe, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_dataset_without_held_out_rows_is_refused(tmp_path):
    recipe = toy_student_recipe(tmp_path)
    with pytest.raises(RequestError, match="has no split 'tset'; it has train, validation, test"):
        distill(recipe, tmp_path / "out", sets=["evaluate.test_split=tset"])


def test_without_a_development_split_some_training_rows_are_held_back(tmp_path):
    from distill.batches import held_out

    recipe = load(toy_student_recipe(tmp_path, rows=400), sets=["evaluate.dev_split=nope"])
    dataset = open_dataset(recipe, tmp_path / "out")
    train, dev, test = (set(p.tolist()) for p in held_out(dataset, recipe))
    assert 5 <= len(dev) <= 35
    assert not train & dev
    assert not (train | dev) & test
    assert len(train | dev) == 320


def test_rows_that_cant_be_used_are_counted(tmp_path):
    recipe, told = toy_student_recipe(tmp_path), Told()
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write('\n{"caption": ""}\n{"caption": " "}\n{broken\n')
    distill(recipe, tmp_path / "out", watcher=told)
    assert told.notes == ["3 rows of the captions source can't be used: caption_empty 2, row_unreadable 1"]


def test_the_libraries_own_bars_stay_off_and_come_back(tmp_path):
    from transformers.utils import logging

    seen, before = [], logging.is_progress_bar_enabled()

    def around(name, step):
        seen.append(logging.is_progress_bar_enabled())
        return step()

    logging.enable_progress_bar()
    try:
        distill(toy_student_recipe(tmp_path), tmp_path / "out", around=around)
        assert seen
        assert not any(seen)
        assert logging.is_progress_bar_enabled()
    finally:
        if not before:
            logging.disable_progress_bar()


def test_the_toy_keeps_the_contract(tmp_path):
    check_student(toy_student_recipe(tmp_path), tmp_path / "check")


def test_a_mean_in_place_of_a_sum_breaks_the_contract(tmp_path, monkeypatch):
    plain = Toy.losses
    monkeypatch.setattr(Toy, "losses", lambda self, m, b, p, w: {"fit": plain(self, m, b, p, w)["fit"] / len(b["x"])})
    with pytest.raises(AssertionError, match="Is it a mean"):
        check_student(toy_student_recipe(tmp_path), tmp_path / "check")


def test_rows_may_be_forgotten_and_come_back(done):
    """`OUT/rows` is a copy. Oracle: ids and digests as before."""
    recipe, made = done
    checked = load(recipe)
    before = open_dataset(checked, made.out)
    ids, digest = before.ids, before.digest
    for file in (made.out / "rows").iterdir():
        file.unlink()
    again = open_dataset(checked, made.out)
    assert (again.ids, again.digest) == (ids, digest)
