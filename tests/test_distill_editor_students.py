"""Both editor students from recipe to saved folder, on tiny random weights of Stable Diffusion 1.5's architecture.

Oracles: diffusers' stock pipeline on the saved folder; the teacher itself, where a student must say the same; the
contract that every student keeps. The full-size recipes run here with their own settings but for sizes and steps.
"""

from __future__ import annotations

import json
import shutil

import diffusers
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_pipelines
import tiny_scorers
import torch
from PIL import Image

from distill import batches
from distill import recipe as recipes
from distill.arm_names import ARMS
from distill.distilling import distill
from distill.editing.editing_student import alphas_of
from distill.opening import opened, taught, work_of
from distill.progress import Watcher
from distill.testing import check_student, model_state
from limbeck.errors import RequestError
from limbeck.models.edit_diffusers import Asked, DiffusersEditModel
from limbeck.pictures import png

PAIRS = 60
SMALL = [
    "student.size=16", "student.curve_scales=[1.0]", "student.curve_steps=[1]", "student.curve_rows=4",
    "train.batch_size=6", "train.warmup=1", "train.evaluate_every=2", "train.checkpoint_every=1",
    "train.precision=no", "train.workers=0", "evaluate.dev_rows=4", "evaluate.test_rows=4", "export.latency_runs=5",
    'export.formats=["safetensors"]', "distill.seed=3",
]  # fmt: skip
EDITOR = [*SMALL, "train.steps=2", "train.micro_batch=3", "student.steps=2"]
PHASES = [f"train.phases.{phase}.steps=2" for phase in ("prune", "guide", "few")]
FAST = [*SMALL, *PHASES, "train.micro_batch=3", "student.teacher_steps=2", "student.steps=2", "student.grid=4",
        "student.keep_layers=[1, 1]"]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pairs, a painter, an editor and a judge."""
    folder, rng = tmp_path_factory.mktemp("editors"), np.random.default_rng(0)
    pictures = [png(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)) for _ in range(2 * PAIRS)]
    kinds = ["make it red", "add a cat", "remove the tree"]
    table = {
        "original_prompt": [f"a ball {i}" for i in range(PAIRS)],
        "original_image": [{"bytes": p, "path": None} for p in pictures[:PAIRS]],
        "edit_prompt": [kinds[i % 3] for i in range(PAIRS)],
        "edited_prompt": [f"a red ball {i}" for i in range(PAIRS)],
        "edited_image": [{"bytes": p, "path": None} for p in pictures[PAIRS:]],
    }
    (folder / "pairs").mkdir()
    pq.write_table(pa.table(table), folder / "pairs" / "train.parquet")
    tiny_pipelines.save_sd15(folder / "painter", layers_per_block=2)
    tiny_pipelines.save_ip2p(folder / "editor", layers_per_block=2)
    Asked(2, 7.5, 1.5).write(folder / "editor")
    tiny_scorers.tiny_siglip(folder / "judge")
    return folder


def sets(place, model, more):
    name = "painter" if model == "painter" else "teacher"
    return [
        f"source.pairs={place / 'pairs'}",
        f"models.{name}={place / model}",
        f"models.judge={place / 'judge'}",
        *more,
    ]


def editor(place, out, *more):
    return distill("recipes/distill-editor-sd15.toml", out, sets=sets(place, "painter", [*EDITOR, *more]), device="cpu")


def fast(place, out, *more, **named):
    chosen = sets(place, "editor", [*FAST, *more])
    return distill("recipes/distill-editor-sd15-fast.toml", out, sets=chosen, device="cpu", **named)


@pytest.fixture(scope="module")
def edited(place, tmp_path_factory):
    return editor(place, tmp_path_factory.mktemp("editor"))


@pytest.fixture(scope="module")
def hurried(place, tmp_path_factory):
    return fast(place, tmp_path_factory.mktemp("fast"))


def stock_edits(folder, **asked):
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return (pipe("make it red", image=image, latents=latents, output_type="np", **asked).images * 255).round()


def test_the_full_size_editor_recipe_leaves_a_stock_pipeline(edited):
    folder, values = edited.out / "student", edited.report["trainings"][0]["values"]
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "StableDiffusionInstructPix2PixPipeline"  # fmt: skip
    assert stock_edits(folder, num_inference_steps=2).shape == (1, 16, 16, 3)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    assert unet.config.in_channels == 8
    assert bool(unet.conv_in.weight[:, 4:].any()), "the source's weights have begun to learn"
    assert not [c for c in folder.glob("*/config.json") if "_name_or_path" in c.read_text()], "no path of this machine"
    assert DiffusersEditModel.load(str(folder)).asked == Asked(2, 7.5, 1.5)
    assert {"direction", "preservation", "target", "evaluations"} <= values.keys()
    assert values["evaluations"] == 6, "two steps of three branches"
    report = edited.report
    assert report["judge"] == "siglip"
    assert report["baselines"]["nothing done"]["values"]["preservation"] == pytest.approx(1, abs=1e-5)
    assert {"p50_ms", "p95_ms", "macs"} <= report["formats"]["safetensors"].keys()
    card = (folder / "README.md").read_text()
    assert "### Direction against preservation: student" in card
    assert (folder / "edits.png").is_file()


def test_lora_of_the_editor_shows_it_the_source_and_is_merged(place, tmp_path):
    """The painter's own weights are the oracle of what is frozen; the source's channels begin at zero."""
    out = editor(place, tmp_path, 'train.adapter={ kind = "lora", rank = 2, targets = ["to_v"] }').out
    before, after = (
        diffusers.UNet2DConditionModel.from_pretrained(f).state_dict()
        for f in (place / "painter/unet", out / "student/unet")
    )
    assert after.keys() == before.keys()
    assert bool(after["conv_in.weight"][:, 4:].any())
    changed = {name for name in before if not torch.equal(before[name].half(), after[name].half())}
    assert {name for name in changed if "to_v" not in name} == {"conv_in.weight", "conv_in.bias"}
    assert any("to_v" in name for name in changed)


def test_the_full_size_fast_recipe_leaves_a_small_stock_pipeline(place, hurried):
    folder, report = hurried.out / "student", hurried.report
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    assert unet.config.layers_per_block == [1, 1]
    assert isinstance(diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None).scheduler, diffusers.LCMScheduler)  # fmt: skip
    assert stock_edits(folder, num_inference_steps=2, guidance_scale=1.0).shape == (1, 16, 16, 3)
    assert [*report["trainings"][0]["facts"]][:3] == ["few", "guide", "parameters"]
    assert report["trainings"][0]["values"]["evaluations"] == 2
    assert report["teacher"]["values"]["evaluations"] == 6
    assert report["formats"]["safetensors"]["parameters"] < report["teacher_facts"]["parameters"]
    assert "### Steps: teacher" in (folder / "README.md").read_text()


def test_what_is_measured_is_what_the_stock_pipeline_does(edited):
    """The whole edit as a plain function, the role's backend and diffusers agree on one picture and noise."""
    from distill.editing import parts
    from distill.editing.whole_edit import WholeEdit
    from limbeck.models.editing import as_input, as_pixels
    from limbeck.models.noise import standard_normal

    folder = edited.out / "student"
    whole = WholeEdit(parts.load(folder)).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    ids, noise = torch.from_numpy(whole.tokens(["make it red"])), torch.from_numpy(whole.noise([5], 8))
    with torch.no_grad():
        plain = as_pixels(whole(as_input(pixels), ids, noise)).astype(int)
    model = DiffusersEditModel.load(str(folder), dtype="float32")
    assert np.abs(model.edit_pixels(pixels, ["make it red"], [5]).astype(int) - plain).max() <= 1
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None)
    found = pipe("make it red", image=Image.fromarray(pixels[0]), latents=standard_normal([5], 0, (4, 8, 8)),
                 num_inference_steps=2, guidance_scale=7.5, image_guidance_scale=1.5, output_type="np").images  # fmt: skip
    assert np.abs((found * 255).round() - plain).max() <= 1


def test_a_noisier_schedule_is_learnt_and_saved(place, tmp_path):
    """Oracle: diffusers' own scheduler with that beta; the saved pipeline edits by what was trained."""
    checked = recipes.load(
        "recipes/distill-editor-sd15.toml", sets=sets(place, "painter", [*EDITOR, "student.beta_end=0.03"])
    )
    work = opened(checked, tmp_path, "cpu")
    painter = diffusers.DDIMScheduler.from_pretrained(place / "painter", subfolder="scheduler")
    wanted = diffusers.DDIMScheduler.from_config(painter.config, beta_end=0.03).alphas_cumprod
    assert torch.equal(alphas_of(work), wanted)
    assert torch.equal(work.student.build(work).parts.scheduler.alphas_cumprod, wanted)
    assert wanted[-1] < painter.alphas_cumprod[-1] / 10


@pytest.mark.parametrize("which", ["editor", "fast"])
def test_contract(place, tmp_path, which):
    name, model, small = ("", "painter", EDITOR) if which == "editor" else ("-fast", "editor", FAST)
    work = check_student(f"recipes/distill-editor-sd15{name}.toml", tmp_path, sets=sets(place, model, small))
    assert work.student.name == ("editor" if which == "editor" else "fast_editor")


def losses(place, tmp_path, phase, *more):
    """Terms of a phase, on a student that is its teacher: nothing is cut."""
    own = ["student.keep_layers=[]", f'student.stages=["{phase}"]', "train.phases={}", *more]
    shorter = [s for s in FAST if "phases" not in s and "keep" not in s]
    checked = recipes.load("recipes/distill-editor-sd15-fast.toml", sets=sets(place, "editor", [*shorter, *own]))
    work = taught(work_of(checked, tmp_path, "cpu", Watcher()), range(1), Watcher())
    work = work.with_(terms={name: 1.0 for name in checked.student.terms})
    model = checked.student.build(work)
    checked.student.begin(model, phase, work)
    found = batches.pools(work.dataset, checked, work.seed)
    (batch,) = batches.Batches(work, ARMS["both"], found, phase, 12, None).micro_batches(0)
    with torch.no_grad():
        return checked.student.losses(model, batch, phase, work), batch, model, work


def test_an_uncut_student_says_what_its_teacher_says(place, tmp_path):
    found, batch, _, _ = losses(place, tmp_path, "prune")
    assert {*found} == {"denoise", "output", "feature"}
    assert float(found["output"]) == 0
    assert float(found["feature"]) == 0
    assert float(found["denoise"]) > 0
    assert batch["times"].max() > 4, "over the whole schedule"


def test_at_both_scales_one_a_single_pass_is_the_guided_teacher(place, tmp_path):
    """s_T = s_I = 1 is e(I,T) itself: the loss begins at zero. At 7.5 and 1.5 it doesn't."""
    one, batch, *_ = losses(
        place,
        tmp_path / "a",
        "guide",
        "student.guidance_scale=1.0",
        "student.image_guidance_scale=1.0",
        "student.dropout=0.33",
    )
    more, *_ = losses(place, tmp_path / "b", "guide")
    assert bool(batch["source"].flatten(1).any(1).all()), "nothing is left out when guidance is learnt"
    assert {*one} == {"guide"}
    assert float(one["guide"]) == 0
    assert float(more["guide"]) > 1e-6


def test_a_student_of_a_teacher_that_ignores_its_conditions_edits_like_it_at_guidance_scale_one(place, tmp_path):
    """If no branch differs, guidance of any scale is one pass: three passes of the teacher, and stock at scale 1, agree."""
    deaf = shutil.copytree(place / "editor", tmp_path / "deaf")
    unet = diffusers.UNet2DConditionModel.from_pretrained(deaf / "unet")
    with torch.no_grad():
        unet.conv_in.weight[:, 4:] = 0
        for name, weight in unet.named_parameters():
            if "attn2.to_out" in name:
                weight.zero_()
    unet.save_pretrained(deaf / "unet")
    own = [f"models.teacher={deaf}", 'student.stages=["guide"]', "student.keep_layers=[]", "train.phases={}",
           "train.steps=1", "train.lr=1e-12", "student.half=false", "student.steps=2"]  # fmt: skip
    more = [s for s in FAST if "phases" not in s and "keep" not in s]
    out = distill(
        "recipes/distill-editor-sd15-fast.toml",
        tmp_path / "out",
        sets=sets(place, "editor", [*more, *own]),
        device="cpu",
    )
    assert out.report["trainings"][0]["facts"]["guide"]["figures"]["dev_guide"] < 1e-9
    teacher = stock_edits(deaf, num_inference_steps=2, guidance_scale=7.5, image_guidance_scale=1.5)
    student = stock_edits(out.out / "student", num_inference_steps=2, guidance_scale=1.0)
    assert np.abs(teacher - student).max() <= 1


def test_the_sham_teacher_looks_at_other_pictures(place, tmp_path):
    *_, work = losses(place, tmp_path, "prune")
    found = batches.pools(work.dataset, work.recipe, work.seed)
    (own,) = batches.Batches(work, ARMS["both"], found, "prune", 12, None).micro_batches(0)
    (sham,) = batches.Batches(work, ARMS["sham"], found, "prune", 12, None).micro_batches(0)
    assert torch.equal(own["teacher_source"], own["source"])
    assert torch.equal(own["source"], sham["source"])
    there = own["source"].flatten(1).any(1)
    assert not (sham["teacher_source"][there] == sham["source"][there]).flatten(1).all(1).any()


def test_arms_that_hear_no_teacher_learn_to_denoise_in_every_phase(place, tmp_path):
    _, _, model, work = losses(place, tmp_path, "prune")
    alone, student = work.with_(terms={"denoise": 1.0}), work.student
    found = batches.pools(work.dataset, work.recipe, work.seed)
    for phase in ("prune", "guide", "few"):
        (batch,) = batches.Batches(alone, ARMS["labels"], found, phase, 6, None).micro_batches(0)
        assert {*student.losses(model, batch, phase, alone)} == {"denoise"}


def test_embedded_scales_leave_with_limbecks_pipeline(place, tmp_path):
    from limbeck.models.embedded_guidance import EmbeddedGuidancePix2PixPipeline

    out = fast(place, tmp_path, "student.scales=embedded", "student.embedding=8")
    folder = out.out / "student"
    pipe = EmbeddedGuidancePix2PixPipeline.from_pretrained(folder, safety_checker=None)
    assert pipe.unet.config.time_cond_proj_dim == 8
    assert bool(pipe.unet.time_embedding.cond_proj.weight.any()), "the scales' weights have begun to learn"
    assert out.report["trainings"][0]["values"]["evaluations"] == 2
    card = (folder / "README.md").read_text()
    assert "from limbeck.models.embedded_guidance import EmbeddedGuidancePix2PixPipeline" in card
    assert "### Direction against preservation: student" in card


def test_an_interrupted_training_ends_the_same(place, hurried, tmp_path):
    """The second phase is broken off at its first step; the same call goes on and ends with the same bits."""

    class Unplugged(Watcher):
        def advanced(self, name, done, shown=None):
            if name.endswith("guide") and done >= 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fast(place, tmp_path, watcher=Unplugged())
    again = fast(place, tmp_path)
    expected, found = model_state(hurried.out / "student"), model_state(again.out / "student")
    assert {*expected} == {*found}
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("recipe", "change", "said"),
    [
        ("editor", "student.new_words=5", "new_words need train_text"),
        ("editor", "evaluate.judge=mini:reader", "measure = 'similarity' is judged by a model that embeds"),
        ("fast", 'student.stages=["few", "prune"]', "in this order"),
        ("fast", 'student.stages=["guide"]', "no stage `prune` teaches the rest to do without them"),
        ("fast", "student.keep_layers=[3, 1]", "keep_layers[0] = 3; the level has 2 layers"),
        ("fast", "student.steps=5", "consistency is trained at 4 times"),
        ("fast", "student.size=18", "a multiple of 4 pixels"),
    ],
)
def test_what_doesnt_go_together_is_told_before_anything_is_computed(place, tmp_path, recipe, change, said):
    name, model, small = ("", "painter", EDITOR) if recipe == "editor" else ("-fast", "editor", FAST)
    small = [s for s in small if "phases" not in s] if "stages" in change else small
    more = [*small, *(["train.phases={}"] if "stages" in change else []), change]
    checked = recipes.load(f"recipes/distill-editor-sd15{name}.toml", sets=sets(place, model, more))
    with pytest.raises(RequestError) as told:
        work_of(checked, tmp_path, "cpu", Watcher())
    assert said in str(told.value)
