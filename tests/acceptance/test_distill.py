"""Longer proofs of distillation: real kills, several processes, other runtimes, the bar of the encoder.

Oracles: an undisturbed run bit by bit; one process in place of two; torch on the same inputs; the storybook's truth.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_student import toy_student_recipe

from distill import exports
from distill.distilling import distill
from distill.testing import model_state

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "limbeck", "distill", *map(str, arguments), "--direct"]


def test_killed_at_random_a_training_ends_bit_equal(tmp_path):
    """SIGKILL at random moments, in the middle of steps and of writing checkpoints."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    long = "steps = 600\nbatch_size = 16\nlr = 1e-2\nevaluate_every = 50\ncheckpoint_every = 7\nema = 0.99"
    recipe = toy_student_recipe(tmp_path, train=long, student="dropout = 0.2")
    whole = distill(recipe, tmp_path / "whole", device="cpu")
    checkpoint, kills = tmp_path / "cut" / "arms" / "both-0" / "checkpoint.pt", 0
    for _ in range(6):
        process = subprocess.Popen(command(recipe, "-o", tmp_path / "cut"), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        before = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
        while process.poll() is None:
            time.sleep(0.02)
            if checkpoint.is_file() and checkpoint.stat().st_mtime_ns != before:
                time.sleep(rng.uniform(0, 0.5))
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
        process.wait()
    assert kills >= 3, f"only {kills} of 6 kills hit a training at work"
    again = distill(recipe, tmp_path / "cut", device="cpu")
    a, b = (model_state(made.out / "arms" / "both-0" / "model") for made in (whole, again))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert whole.report["trainings"][0]["values"] == again.report["trainings"][0]["values"]


@pytest.mark.parametrize(("micro", "hooked"), [(3, "false"), (16, "true")])
def test_two_processes_train_what_one_does(tmp_path, micro, hooked):
    """torchrun, gloo, two processes on the CPU; rows, views, counts and gradients are those of one process.

    A hook on a layer is there under several processes, too: it is put on the model inside the wrapper.
    """
    settings = f"steps = 12\nbatch_size = 16\nmicro_batch = {micro}\nlr = 1e-2\nevaluate_every = 12\nema = 0.9"
    recipe = toy_student_recipe(tmp_path, train=settings, views="count = 2", student=f"hooked = {hooked}")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    two = [*launch, "limbeck", "distill", str(recipe), "-o", str(tmp_path / "two")]
    done = subprocess.run(two, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one = distill(recipe, tmp_path / "one", device="cpu")
    a, b = (model_state(tmp_path / name / "student") for name in ("one", "two"))
    assert all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)
    assert one.report["trainings"][0]["facts"]["train"]["steps"] == 12
    logs = [(tmp_path / name / "arms/both-0/metrics.jsonl").read_text().splitlines()[0] for name in ("one", "two")]
    first, second = (json.loads(line)["train/loss"] for line in logs)
    assert first == pytest.approx(second, rel=1e-5)  # of the whole batch


def test_prefect_shows_a_distillation(tmp_path):
    """Without --direct: the flow and its temporary server."""
    recipe = toy_student_recipe(tmp_path)
    plain = [each for each in command(recipe, "-o", tmp_path / "out") if each != "--direct"]
    done = subprocess.run(plain, env=ENVIRONMENT, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "student" / "README.md").is_file()
    assert "Going on without Prefect" not in done.stderr


@pytest.mark.parametrize("format", ["executorch", "litert", "transformersjs"])
@pytest.mark.parametrize("recipe", ["recipes/distill-encoder.toml", "recipes/distill-classifier.toml"])
def test_other_runtimes_answer_like_torch(tmp_path, format, recipe):
    """The bar is 1e-4. Skipped where a runtime isn't installed; docs/distill.md says how it is."""
    from distill.recipe import load
    from distill.work import Work

    if not exports.at_hand(format):
        pytest.skip(f"{format} isn't at hand")
    checked = load(ROOT / recipe)
    work = Work(checked, None, type("C", (), {"facts": {"dim": 128}})())
    torch.manual_seed(0)
    model = checked.student.build(work).eval()
    checked.student.save(model, tmp_path, work)
    exported = checked.student.exported(model, work)
    path = exports.write(format, exported, tmp_path / exports.folder_of(format), tmp_path)
    x = np.random.default_rng(0).normal(size=(5, 3, 64, 64)).astype(np.float32)
    expected = exports.torch_predictor(exported, model).ask({"pixel_values": x})
    found = exports.open_(format, path, exported).ask({"pixel_values": x})
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert np.abs(found[name] - value).max() < 1e-4


def test_transformersjs_prepares_pictures_as_we_do(tmp_path):
    """Its own image processor, on the folder's own config, against `distill.pixels`."""
    from PIL import Image

    from distill.exports.transformersjs_folder import modules
    from distill.pixels import pixels, processor_config

    if not exports.at_hand("transformersjs"):
        pytest.skip("transformersjs isn't at hand")
    config = processor_config("CLIPImageProcessor", 64)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    script = f"""
        import {{ createRequire }} from "node:module";
        const t = await import(createRequire("{modules().resolve()}/x.js").resolve("@huggingface/transformers"));
        t.env.allowRemoteModels = false; t.env.localModelPath = "{tmp_path.parent}";
        const processor = await t.AutoProcessor.from_pretrained("{tmp_path.name}");
        const {{ pixel_values }} = await processor(await t.RawImage.read("{tmp_path}/a.png"));
        console.log(JSON.stringify({{ dims: pixel_values.dims, data: Array.from(pixel_values.data) }}));
    """
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    theirs = np.array(said["data"], np.float32).reshape(said["dims"])
    assert np.abs(theirs - pixels([picture], 64).numpy()).max() < 1e-5


def test_the_encoder_reaches_its_bar(tmp_path):
    """At least 90% of mini:clip's zero-shot and retrieval figures on held-out scenes, at a quarter of its size."""
    made = distill(ROOT / "recipes" / "distill-encoder.toml", tmp_path / "out", device="cpu")
    own, teacher = made.report["formats"]["safetensors"], made.report["teacher"]["values"]
    assert own["parameters"] <= made.report["teacher_facts"]["parameters"] / 4
    for name in ("zero_shot", "image_to_text", "text_to_image"):
        for format, entry in made.report["formats"].items():
            assert entry["values"][name] >= 0.9 * teacher[name], (format, name)
