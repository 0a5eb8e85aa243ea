"""Who may judge, and evaluating once more from files. Oracles: families by hand; figures of the report."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tiny_scorers import tiny_clip, tiny_dinov2, tiny_siglip
from toy_student import features, toy_student_recipe

from distill.distilling import distill
from distill.evaluate import NotFinite, family, refuse_dependent_judge, score
from distill.evaluating import evaluate_student
from distill.lineage import Lineage
from distill.opening import opened
from distill.recipe import load
from distill.student import Predictor
from distill.work import Work
from limbeck.errors import BuildNotFound, RequestError
from limbeck.launch import main

NOTHING = Lineage("rows")


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scorers")
    return {
        "clip": tiny_clip(folder / "a clip"),
        "siglip": tiny_siglip(folder / "a siglip"),
        "dinov2": tiny_dinov2(folder / "a dinov2"),
    }


def recipe(judge, scorers, name="me"):
    sets = [f"models.{key}={path}" for key, path in scorers.items()]
    return load("recipes/distill-encoder.toml", sets=[*sets, f"evaluate.judge={judge}"])


def test_answers_that_are_no_numbers_are_refused(tmp_path):
    """One of three answers overflowed, as fp16 does."""
    work = opened(load(toy_student_recipe(tmp_path)), tmp_path / "out")
    predictor = Predictor(lambda inputs: {"y": np.array([[1.0], [np.inf], [2.0]], np.float32)}, "onnx-fp16")
    with pytest.raises(NotFinite, match="1 of 3 numbers of its 'y'") as error:
        score(predictor, work.dataset.rows([0, 1, 2]), work)
    assert error.value.where == "onnx-fp16"


def test_a_judge_is_known_by_its_weights(tmp_path):
    """Oracle: other weights in the same folder are another judge; scores and curves of the first aren't read back."""

    def judged_by(seed):
        tiny_clip(tmp_path / "judge", seed=seed)
        sets = [f"models.judge={tmp_path / 'judge'}", "evaluate.judge=judge"]
        return Work(load("recipes/distill-encoder.toml", sets=sets), None).judged_by

    assert judged_by(0) == judged_by(0) != judged_by(1)
    assert Work(load("recipes/distill-encoder.toml"), None).judged_by == ("truth", None)


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_a_family_is_its_architecture_wherever_it_lies(scorers, name):
    assert family(str(scorers[name])) == name


@pytest.mark.parametrize(
    ("name", "kin"),
    [
        ("google/siglip2-base-patch16-224", "siglip"),
        ("timm/ViT-B-16-SigLIP", "siglip"),
        ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "clip"),
        ("facebook/metaclip-h14-fullcc2.5b", "clip"),
        ("facebook/dinov3-vits16-pretrain-lvd1689m", "dinov2"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen"),
    ],
)
def test_a_model_that_is_not_at_hand_has_its_kins_family_by_its_name(monkeypatch, name, kin):
    import transformers

    def nowhere(*args, **kwargs):
        raise OSError("not at hand")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", nowhere)
    assert family(name) == kin


def test_the_teachers_own_family_does_not_judge(scorers):
    """mini:clip taught; another CLIP judges."""
    with pytest.raises(
        RequestError, match="is of the family 'clip', and so is 'mini:clip', which taught the student"
    ) as error:
        refuse_dependent_judge(recipe("clip", scorers), NOTHING)
    assert error.value.where == "evaluate.judge"


@pytest.mark.parametrize("judge", ["siglip", "dinov2", "mini:reader", "truth"])
def test_other_families_do(scorers, judge):
    refuse_dependent_judge(recipe(judge, scorers), NOTHING)


def test_who_filtered_does_not_judge(scorers):
    lineage = Lineage("rows", models={str(scorers["siglip"]): ("near",)}, filters=(str(scorers["siglip"]),))
    with pytest.raises(RequestError, match="which filtered the dataset"):
        refuse_dependent_judge(recipe("siglip", scorers), lineage)
    refuse_dependent_judge(recipe("dinov2", scorers), lineage)


def test_filters_of_a_build_are_known_from_the_build(tmp_path):
    """Oracle: the recipe that it was built with."""
    from toy_recipes import toy_recipe

    import limbeck
    from distill.row_readers import Built

    built = limbeck.build(toy_recipe(tmp_path, ["a red house", "a blue house"]), tmp_path / "out")
    lineage = Built(built.path, None).lineage
    assert lineage.name == "toys"
    assert lineage.digest == built.recipe.digest()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    recipe = toy_student_recipe(folder, export='formats = ["onnx-fp32"]\nlatency_runs = 5')
    return distill(recipe, folder / "out")


def test_evaluated_once_more_it_scores_the_same(done):
    again = evaluate_student(done.out)
    for format in ("safetensors", "onnx-fp32"):
        assert again["formats"][format]["values"] == pytest.approx(done.report["formats"][format]["values"])
    assert json.loads((done.out / "evaluation.json").read_text())["formats"] == again["formats"]


def test_a_file_that_was_tampered_with_scores_otherwise(done, tmp_path):
    """The figure comes from the file. Oracle: weights of zero say 0, and err by the truth itself."""
    from safetensors.torch import load_file, save_file

    state = load_file(done.out / "student" / "model.safetensors")
    save_file({name: 0 * value for name, value in state.items()}, tmp_path / "model.safetensors")
    again = evaluate_student(done.out, tmp_path)
    rows = [json.loads(line) for line in (done.out.parent / "rows.jsonl").read_text().splitlines()]
    truth = np.mean([abs(features(row).sum()) for row in rows if row["split"] == "test"])
    assert again["formats"]["safetensors"]["values"]["error"] == pytest.approx(truth)


def test_the_command_line(done, capsys):
    assert main(["evaluate", str(done.out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["formats"]["onnx-fp32"]["values"] == pytest.approx(done.report["formats"]["onnx-fp32"]["values"])
    assert main(["evaluate", str(done.out)]) == 0
    assert "judge: truth" in capsys.readouterr().out


def test_a_folder_without_a_student(tmp_path, done):
    with pytest.raises(BuildNotFound, match="holds no student"):
        evaluate_student(tmp_path)
    with pytest.raises(BuildNotFound, match="there is no folder"):
        evaluate_student(done.out, tmp_path / "nowhere")
    assert main(["evaluate", str(tmp_path)]) == 2
