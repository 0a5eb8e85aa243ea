"""The edit role on diffusers, on tiny random weights of InstructPix2Pix's architecture.

Oracles: diffusers' own pipeline on the same noise; the formula of two scales, worked out by hand; hooks that count.
"""

from __future__ import annotations

import json

import diffusers
import numpy as np
import pytest
import tiny_pipelines
import torch
from PIL import Image

from limbeck import models
from limbeck.errors import ModelError, ModelNotFound
from limbeck.models.edit_diffusers import Asked, DiffusersEditModel
from limbeck.models.editing import Plan, Scales, guided, scale_embedding
from limbeck.models.noise import standard_normal
from limbeck.models.roles import EditModel, EditRequest
from limbeck.models.spec import ModelSpec

ROWS = [(3, "make it red"), (2**64 - 5, "add a cat"), (11, "")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_pipelines.save_ip2p(tmp_path_factory.mktemp("ip2p"))


@pytest.fixture(scope="module")
def model(folder):
    return DiffusersEditModel.load(str(folder))


@pytest.fixture(scope="module")
def stock(folder):
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pictures(n=3, size=16):
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def noise(draw=0):
    return standard_normal([seed for seed, _ in ROWS], draw, (4, 8, 8))


def by_stock(pipe, steps, text, image, **more):
    told = [words for _, words in ROWS]
    before = [Image.fromarray(p) for p in pictures()]
    found = pipe(told, image=before, num_inference_steps=steps, guidance_scale=text, image_guidance_scale=image,
                 latents=noise(), output_type="np", **more).images  # fmt: skip
    return (found * 255).round().astype(int)


def ours(model, steps, text, image):
    seeds, told = zip(*ROWS, strict=True)
    return model.edit_pixels(pictures(), told, seeds, Asked(steps, text, image)).astype(int)


def test_two_scales_by_hand():
    """e(0,0) = 1, e(I,0) = 2, e(I,T) = 5, s_I = 1.5, s_T = 7.5: 1 + 1.5 (2 - 1) + 7.5 (5 - 2) = 25."""
    branches = {"neither": torch.tensor(1.0), "picture": torch.tensor(2.0), "both": torch.tensor(5.0)}
    assert float(guided(branches, Scales(text=7.5, image=1.5))) == 25.0
    assert float(guided(branches, Scales(text=2.0, image=0.0))) == 1 + 0 + 2 * 3


def test_two_scales_are_the_same_on_noise_v_and_x0():
    """Guiding the network's output, or the pictures that it means, is one thing: weights sum to one."""
    from limbeck.models.sampling import predicted_picture

    x, sigma, scales = torch.randn(2, 4, 8, 8), torch.tensor(1.7), Scales(7.5, 1.5)
    branches = {name: torch.randn_like(x) for name in ("neither", "picture", "both")}
    for prediction in ("epsilon", "v_prediction", "sample"):
        meant = {name: predicted_picture(each, x, sigma, prediction) for name, each in branches.items()}
        one = predicted_picture(guided(branches, scales), x, sigma, prediction)
        torch.testing.assert_close(one, guided(meant, scales), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("scales", "branches"), [((1, 1), 1), ((2, 2), 2), ((3, 1), 2), ((7.5, 1.5), 3), ((0, 0), 1)])
def test_branches_that_count_for_nothing_are_not_run(model, scales, branches):
    seen = []
    hook = model.pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    model.edit_pixels(pictures(1), ["make it red"], [1], Asked(4, *scales))
    hook.remove()
    assert seen == [branches] * 4
    assert model.evaluations(Asked(4, *scales)) == sum(seen)


@pytest.mark.parametrize(("text", "image"), [(7.5, 1.5), (3.0, 1.0), (1.0, 1.5)])
def test_same_pictures_as_the_stock_pipeline(model, stock, text, image):
    """With s_T = 1 stock leaves guidance out altogether, whatever s_I: that is e(I,T), ours with s_I = 1."""
    expected = by_stock(stock, 8, text, image)
    found = ours(model, 8, text, image if text > 1 else 1.0)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - pictures()).max() > 20, "something was done to the pictures"


def test_a_consistency_student_edits_as_stock_does_with_its_scheduler(tmp_path, monkeypatch):
    """One pass a step at guidance scale 1; stock draws noise by itself, so that it is given ours."""
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = diffusers.LCMScheduler(**config, prediction_type="v_prediction", original_inference_steps=20)
    place = tiny_pipelines.save_ip2p(tmp_path / "lcm", scheduler)
    Asked(4, 1.0, 1.0).write(place)
    drawn = iter(noise(draw) for draw in (1, 2, 3))
    monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *a, **k: next(drawn))
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(place, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    model = DiffusersEditModel.load(str(place))
    assert model.asked == Asked(4, 1.0, 1.0)
    assert np.abs(ours(model, 4, 1.0, 1.0) - by_stock(pipe, 4, 1.0, 1.0)).max() <= 1


def test_an_edit_alone_and_in_a_batch_agree_whatever_its_shape(model):
    rng = np.random.default_rng(1)
    shapes = [(16, 16), (16, 16), (40, 20), (16, 16), (90, 170)]
    requests = [
        EditRequest(Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)), f"make it {i}", i)
        for i, (h, w) in enumerate(shapes)
    ]
    asked = {"steps": 4, "guidance_scale": 4.0, "image_guidance_scale": 1.5}
    together = model.edit(requests, **asked)
    assert isinstance(model, EditModel)
    for request, picture in zip(requests, together, strict=True):
        (alone,) = model.edit([request], **asked)
        assert np.abs(np.asarray(alone).astype(int) - np.asarray(picture)).max() <= 1
    assert [p.size for p in together] == [(16, 16), (16, 16), (12, 24), (16, 16), (20, 12)]
    assert np.abs(np.asarray(together[0]).astype(int) - np.asarray(together[1])).max() > 1


def test_source_latents_are_the_mode_and_unscaled(model):
    seen = []
    hook = model.pipe.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 4:]))
    model.edit_pixels(pictures(1), ["make it red"], [1], Asked(1, 7.5, 1.5))
    hook.remove()
    image = torch.from_numpy(pictures(1)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        mode = model.pipe.vae.encode(image).latent_dist.mode()
    torch.testing.assert_close(seen[0], torch.cat([torch.zeros_like(mode), mode, mode]))
    assert model.pipe.vae.config.scaling_factor != 1


def test_embedded_scales_reach_the_network_in_both_ways_of_asking(tmp_path):
    """limbeck's pipeline class and the role's backend feed the same numbers; half of the width is each scale's."""
    from limbeck.models.embedded_guidance import EmbeddedGuidancePix2PixPipeline

    place = tiny_pipelines.save_ip2p(tmp_path / "embedded", time_cond_proj_dim=16)
    index = json.loads((place / "model_index.json").read_text())
    (place / "model_index.json").write_text(json.dumps(index | {"_class_name": "EmbeddedGuidancePix2PixPipeline"}))
    model = DiffusersEditModel.load(str(place))
    pipe = EmbeddedGuidancePix2PixPipeline.from_pretrained(place, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    found = ours(model, 4, 7.5, 1.5)
    assert np.abs(found - by_stock(pipe, 4, 7.5, 1.5)).max() <= 1
    assert np.abs(found - ours(model, 4, 3.0, 1.5)).max() > 1, "the scales make a difference"
    assert model.evaluations(Asked(4, 7.5, 1.5)) == 4
    both = scale_embedding(torch.tensor([7.5]), torch.tensor([1.5]), 16, torch.float32)
    other = scale_embedding(torch.tensor([7.5]), torch.tensor([1.2]), 16, torch.float32)
    assert torch.equal(both[:, :8], other[:, :8])
    assert not torch.equal(both[:, 8:], other[:, 8:])


def test_loads_for_its_role_and_for_no_other(folder, tmp_path):
    assert isinstance(models.load(ModelSpec(id=str(folder), size=16), "edit"), DiffusersEditModel)
    assert "plays the role edit; the stage needs image" in models.unfit(ModelSpec(id=str(folder)), "image")
    painter = tiny_pipelines.save_sd15(tmp_path / "sd15")
    assert "plays the role image; the stage needs edit" in models.unfit(ModelSpec(id=str(painter)), "edit")
    with pytest.raises(ModelNotFound, match="found a StableDiffusionPipeline"):
        DiffusersEditModel.load(str(painter))


def test_instructions_outside_its_world_are_refused(folder, model, tmp_path):
    import shutil

    place = shutil.copytree(folder, tmp_path / "world")
    (place / "world.json").write_text(json.dumps({"words": ["make", "it", "red"]}))
    small = DiffusersEditModel.load(str(place))
    assert small.check_instruction("Make it red!") is None
    assert "words outside this model's world: dragon" in small.check_instruction("make it a dragon".replace(" a ", " "))
    assert "empty" in model.check_instruction("  ")
    assert "tokens long; the model reads 77" in model.check_instruction("m" * 100)
    with pytest.raises(ModelError, match="cannot follow"):
        small.edit([EditRequest(Image.new("RGB", (16, 16)), "make it night", 1)])


def test_plans_follow_the_pipelines_own_scheduler():
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    ddim = diffusers.DDIMScheduler(**config, timestep_spacing="trailing")
    assert Plan.of(ddim, 4).times == (999, 749, 499, 249)
    euler = diffusers.EulerAncestralDiscreteScheduler(**config)
    assert Plan.of(euler, 3).sampler == "euler_ancestral"
    lcm = diffusers.LCMScheduler(**config, original_inference_steps=10)
    for steps in (1, 2, 4, 8):
        lcm.set_timesteps(steps)
        assert list(Plan.of(lcm, steps).times) == lcm.timesteps.tolist()
