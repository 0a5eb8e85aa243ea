"""The image role on diffusers, on tiny random weights of the SD 1.5 and SDXL architectures.

Oracles: diffusers' own pipelines on the same starting latents; the invariants of the method (a pair's noise is
shared at every step, its pixels don't depend on its batch).
"""

from __future__ import annotations

import itertools
import json
import shutil

import diffusers
import numpy as np
import pytest
import tiny_pipelines
import torch

from limbeck.errors import ModelError, ModelNotFound, SettingError, UnsafeWeights
from limbeck.models.image_diffusers import DiffusersImageModel
from limbeck.models.noise import standard_normal
from limbeck.models.roles import ImageModel, PairRequest

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    return tiny_pipelines.save_sd15(tmp_path_factory.mktemp("sd15"))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return tiny_pipelines.save_sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def model(request):
    return DiffusersImageModel.load(str(request.getfixturevalue(request.param)))


def distance(one, other) -> int:
    """Largest difference of two pictures, in 1/255."""
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


REQUESTS = [
    PairRequest("a red ball", "a blue ball", 11, 0.1, 7.5),
    PairRequest("a cat", "a cat at night", 2**64 - 5, 0.9, 1.0),
    PairRequest("a house on grass", "a house on sand", 3, 0.45, 15.0),
    PairRequest("a red ball", "a green ball", 3, 0.0, 2.0),
    PairRequest("a boat", "a car", 4, 1.0, 0.0),
]


def test_a_pair_alone_and_in_a_batch_agree_within_one_level_in_any_order(model):
    together = model.render_pairs(REQUESTS, steps=8)
    backwards = model.render_pairs(REQUESTS[::-1], steps=8)[::-1]
    assert isinstance(model, ImageModel)
    assert len(together) == len(REQUESTS)
    for request, pair, other in zip(REQUESTS, together, backwards, strict=True):
        (alone,) = model.render_pairs([request], steps=8)
        for a, b, c in zip(pair, alone, other, strict=True):
            assert a.size == (model.size, model.size)
            assert a.mode == "RGB"
            assert distance(a, b) <= 1
            assert distance(a, c) <= 1
    assert distance(together[0][0], together[3][0]) > 1, "another seed and guidance make another picture"
    assert all(distance(before, after) > 1 for before, after in together)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_noise_is_shared_at_every_step(model, fraction):
    """With one caption for both pictures nothing but noise could set them apart, at any step and in either half."""
    seen = []
    hook = model.renderer.pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    ((before, after),) = model.render_pairs([PairRequest("a cat", "a cat", 5, fraction, 4.0)], steps=6)
    hook.remove()
    assert distance(before, after) == 0
    assert len(seen) == 6
    for latents in seen:
        assert latents.shape[0] == 4
        assert (latents - latents[:1]).abs().max() < 1e-5
    assert min((a[0] - b[0]).abs().mean() for a, b in itertools.pairwise(seen)) > 0.01


def test_ancestral_noise_is_fresh_at_every_step_and_scaled_as_it_should(sd15, monkeypatch):
    """Oracle: with a network that expects an empty picture, only the noise that was added is left."""
    model = DiffusersImageModel.load(str(sd15))
    steps = []
    monkeypatch.setattr(
        "limbeck.models.renderer.standard_normal",
        lambda seeds, step, shape: steps.append((tuple(seeds), step)) or standard_normal(seeds, step, shape),
    )
    model.render_pairs([PairRequest("a", "b", 5, 0.5, 4.0), PairRequest("a", "c", 6, 0.7, 4.0)], steps=6)
    assert steps == [((6, 5), step) for step in range(6)]  # longest sharing first; none after the last step


def test_pairs_without_guidance_are_not_halved_and_skip_the_unconditional_half(model):
    rows = []
    hook = model.renderer.pipe.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    requests = [PairRequest("a red ball", "a blue ball", seed, 0.5, 1.0) for seed in range(3)]
    pairs = model.render_pairs(requests, steps=2)
    hook.remove()
    assert rows == [6, 6]
    assert len(pairs) == 3
    (before, after), (next_before, _) = pairs[:2]
    assert distance(before, after) > 1
    assert distance(before, next_before) > 1
    # guidance 1 is the conditional prediction itself, so just above it nothing jumps
    ((near, _),) = model.render_pairs([PairRequest("a red ball", "a blue ball", 0, 0.5, 1.0001)], steps=2)
    assert distance(before, near) <= 1


def test_a_batch_that_does_not_fit_is_rendered_in_halves(model):
    """Oracle: the pictures of a device with room."""
    expected = model.render_pairs(REQUESTS, steps=2)
    rows, most = [], 4

    def small_device(module, args):
        rows.append(len(args[0]))
        if len(args[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = model.renderer.pipe.unet.register_forward_pre_hook(small_device)
    pairs = model.render_pairs(REQUESTS, steps=2)
    most = 1
    with pytest.raises(ModelError, match="one pair of 16 px"):
        model.render_pairs(REQUESTS, steps=2)
    hook.remove()
    assert max(rows) > 4
    for pair, other in zip(pairs, expected, strict=True):
        assert all(distance(a, b) <= 1 for a, b in zip(pair, other, strict=True))


def test_guidance_and_sharing_matter_by_row(model):
    base = PairRequest("a red ball", "a blue ball", 1, 0.5, 3.0)
    (before, after), (guided, _), (same, shared) = model.render_pairs(
        [base, PairRequest(base.source_prompt, base.target_prompt, 1, 0.5, 9.0),
         PairRequest(base.source_prompt, base.target_prompt, 1, 1.0, 3.0)], steps=8,
    )  # fmt: skip
    assert distance(before, guided) > 1
    assert distance(before, same) <= 1, "the source never depends on how long it shares"
    assert (np.asarray(after) != np.asarray(shared)).any()


@pytest.mark.parametrize("kind", ["sd15", "sdxl"])
@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
def test_a_single_picture_equals_diffusers_own_pipeline(tmp_path, kind, guidance_scale):
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, timestep_spacing="trailing", steps_offset=1)
    save = getattr(tiny_pipelines, f"save_{kind}")
    folder = save(tmp_path / "model", scheduler=scheduler)
    model = DiffusersImageModel.load(str(folder))
    assert model.renderer.sampler == "ddim"
    ours = model.render(["a red ball", "a cat"], [5, 6], guidance_scale=guidance_scale, steps=10)
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        ["a red ball", "a cat"], latents=standard_normal([5, 6], 0, (4, 8, 8)), num_inference_steps=10,
        guidance_scale=guidance_scale, height=16, width=16,
    ).images  # fmt: skip
    assert [distance(a, b) <= 1 for a, b in zip(ours, theirs, strict=True)] == [True, True]
    assert distance(*ours) > 1


def test_turbo_kin_render_in_one_step_on_their_own_schedule(tmp_path):
    """SDXL-Turbo is an SDXL folder with an ancestral scheduler and trailing timesteps: one line of the recipe."""
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    model = DiffusersImageModel.load(str(tiny_pipelines.save_sdxl(tmp_path / "turbo", scheduler=scheduler)))
    assert model.renderer.times(1).tolist() == [999]
    assert model.renderer.times(4).tolist() == [999, 749, 499, 249]
    ((before, after),) = model.render_pairs([PairRequest("a cat", "a dog", 1, 0.5, 0.0)], steps=1)
    assert distance(before, after) > 0


def test_latent_consistency_kin_read_the_guidance_scale_as_an_input(tmp_path):
    """Oracle: `LatentConsistencyModelPipeline` on the same latents, one step."""
    folder = tiny_pipelines.save_sd15(
        tmp_path / "lcm", scheduler=diffusers.LCMScheduler(**BETAS, steps_offset=1), time_cond_proj_dim=32
    )
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "LatentConsistencyModelPipeline"}))
    model = DiffusersImageModel.load(str(folder))
    assert model.renderer.sampler == "lcm"
    (ours,) = model.render(["a red ball"], [5], guidance_scale=8.5, steps=1)
    pipe = diffusers.LatentConsistencyModelPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    (theirs,) = pipe("a red ball", latents=standard_normal([5], 0, (4, 8, 8)), num_inference_steps=1,
                     guidance_scale=8.5, height=16, width=16).images  # fmt: skip
    assert distance(ours, theirs) <= 1
    rows = []
    model.renderer.pipe.unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    pairs = model.render_pairs([PairRequest("a cat", "a dog", s, 0.5, 8.5) for s in range(3)], steps=4)
    assert rows == [6] * 4  # no unconditional half
    assert len(pairs) == 3


def test_distinct_prompts_are_encoded_once(sd15):
    model = DiffusersImageModel.load(str(sd15))
    encoded = []
    encode = model.renderer.pipe.encode_prompt
    model.renderer.pipe.encode_prompt = lambda prompts, *args, **more: (
        encoded.extend(prompts) or encode(prompts, *args, **more)
    )
    for _ in range(2):
        model.render_pairs([PairRequest("a cat", "a dog", seed, 0.5, 4.0) for seed in range(3)], steps=1)
    assert sorted(encoded) == ["", "a cat", "a dog"]


def test_prompts_that_the_model_cannot_read_are_named(sd15, tmp_path):
    model = DiffusersImageModel.load(str(sd15))
    assert model.check_prompt("a red ball") is None
    assert model.check_prompt(" ") == "the prompt is empty"
    assert model.check_prompt("x" * 76) == "the prompt is 78 tokens long; the model reads 77"
    assert "10002 tokens" in model.check_prompt("x" * 10_000)
    assert model.check_prompt("빨간 공 <b>") is None

    world = tmp_path / "mini"
    shutil.copytree(sd15, world)
    (world / "world.json").write_text(json.dumps({"words": ["a", "red", "ball", "on", "grass"]}))
    mini = DiffusersImageModel.load(str(world))
    assert mini.check_prompt("A red ball, on grass.") is None
    assert mini.check_prompt("a red dragon on a <b>hill</b>") == "words outside this model's world: dragon, b, hill"
    assert mini.check_prompt("빨간 공") == "words outside this model's world: 빨간, 공"
    assert mini.check_prompt("w1 w2 w3 w4 w5 w6 w7").endswith("w4, w5 and 2 more")
    with pytest.raises(ModelError, match="dragon"):
        mini.render_pairs([PairRequest("a red ball", "a red dragon", 1, 0.5, 3.0)], steps=2)
    assert mini.fingerprint != model.fingerprint


def test_a_pickled_weight_file_is_refused_before_anything_opens_it(sd15, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(sd15, folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises((UnsafeWeights, ModelError), match=r"pickled.*diffusion_pytorch_model\.bin"):
        DiffusersImageModel.load(str(folder))


@pytest.mark.parametrize(
    ("index", "message"),
    [({"_class_name": "StableDiffusion3Pipeline"}, "StableDiffusion3Pipeline.*MM-DiT"),
     ({"_class_name": "FluxPipeline"}, "FluxPipeline.*MM-DiT"),
     ({"_class_name": ["pipeline", "Mine"]}, "expected one of StableDiffusionPipeline"),
     ({"_class_name": "WuerstchenDecoderPipeline"}, "expected one of StableDiffusionPipeline"),
     ({}, "names no pipeline class")],
)  # fmt: skip
def test_other_architectures_are_refused_clearly(sd15, tmp_path, index, message):
    folder = tmp_path / "other"
    shutil.copytree(sd15, folder)
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelNotFound, match=message):
        DiffusersImageModel.load(str(folder))


def test_weights_of_another_shape_are_refused_clearly(sd15, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(sd15, folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"block_out_channels": [16, 64]}))
    with pytest.raises(ModelNotFound, match="could not load"):
        DiffusersImageModel.load(str(folder))


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"dtype": "int8"}, "expected auto, float32"), ({"offload": "model", "device": "cpu"}, "accelerator"),
     ({"sampler": "heun"}, "expected auto, euler_ancestral"), ({"size": 17}, "multiple of 2")],
)  # fmt: skip
def test_settings_that_cannot_be_had_are_refused_clearly(sd15, setting, message):
    with pytest.raises(SettingError, match=message):
        DiffusersImageModel.load(str(sd15), **setting)


def test_a_fingerprint_tells_settings_that_change_pixels_apart(sd15):
    settings = ({}, {"sampler": "ddim"}, {"spacing": "trailing"}, {"size": 32}, {"dtype": "bfloat16"})
    prints = [DiffusersImageModel.load(str(sd15), **s).fingerprint for s in settings]
    assert len(set(prints)) == len(settings)
    assert DiffusersImageModel.load(str(sd15)).fingerprint == prints[0]


def test_another_size_and_half_precision_render(sd15):
    model = DiffusersImageModel.load(str(sd15), size=32, dtype="bfloat16")
    ((before, after),) = model.render_pairs([PairRequest("a cat", "a dog", 1, 0.5, 4.0)], steps=3)
    assert before.size == after.size == (32, 32)


def test_impossible_steps_and_uneven_arguments_are_refused(model):
    with pytest.raises(SettingError, match="expected 1 to 1000"):
        model.render(["a cat"], [1], guidance_scale=3.0, steps=0)
    with pytest.raises(ValueError, match="one seed a prompt"):
        model.render(["a cat"], [1, 2], guidance_scale=3.0, steps=1)
    assert model.render([], [], guidance_scale=3.0, steps=1) == []
    assert model.render_pairs([], steps=1) == []


def test_pixels_are_rounded_not_truncated(model):
    """Oracle: a VAE that gives back what it gets, and the 8-bit value worked out by hand."""
    decode = model.renderer.pipe.vae.decode
    wanted = 100.6 / 255 * 2 - 1
    model.renderer.pipe.vae.decode = lambda z, return_dict: (torch.full((len(z), 3, model.size, model.size), wanted),)
    (picture,) = model.renderer.decode(torch.zeros(1, 4, 8, 8))
    model.renderer.pipe.vae.decode = decode
    assert set(np.asarray(picture).flatten().tolist()) == {101}
