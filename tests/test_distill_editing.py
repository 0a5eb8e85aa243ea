"""What editor students are made of.

Oracles: the painter's own output, numbers worked out by hand, diffusers' loader, three separate passes of a network.
"""

from __future__ import annotations

import copy

import diffusers
import numpy as np
import pytest
import tiny_pipelines
import torch

from distill.editing import network, pruning, words
from distill.editing.conditioning import draw, dropped, noised, picture_of, target_of
from distill.editing.consistency import Grid, huber
from distill.editing.editor_teacher import EditorTeacher, normalised_mse
from distill.editing.network import EditingNetwork
from distill.editing.pruning import Cut
from limbeck.models.editing import Scales
from limbeck.models.sampling import lcm_timesteps


def passed(unet, x, times, states, **more):
    with torch.no_grad():
        return unet(x, times, encoder_hidden_states=states, return_dict=False, **more)[0]


@pytest.fixture(scope="module")
def painter():
    torch.manual_seed(0)
    return tiny_pipelines.loud(tiny_pipelines.unet(32, layers_per_block=2))


@pytest.fixture(scope="module")
def inputs():
    rng = torch.Generator().manual_seed(1)
    shapes = {"noisy": (3, 4, 8, 8), "source": (3, 4, 8, 8), "states": (3, 7, 32)}
    return {k: torch.randn(s, generator=rng) for k, s in shapes.items()} | {"times": torch.tensor([999, 500, 1])}


def joined(inputs):
    return torch.cat([inputs["noisy"], inputs["source"]], 1), inputs["times"], inputs["states"]


# --- the network


def test_the_widened_unet_is_the_painter_whatever_the_source_shows(painter, inputs):
    wide = network.widened(painter, 4)
    expected = passed(painter, inputs["noisy"], inputs["times"], inputs["states"])
    assert torch.equal(passed(wide, *joined(inputs)), expected)
    assert wide.config.in_channels == 8
    assert not wide.conv_in.weight[:, 4:].any()
    assert torch.equal(wide.conv_in.weight[:, :4], painter.conv_in.weight)


def test_balanced_units_change_how_weights_are_stored_and_not_the_function(painter, inputs):
    wide = network.widened(painter, 4)
    torch.nn.init.normal_(wide.conv_in.weight)
    balanced = copy.deepcopy(wide)
    network.balance(balanced, 4, 6.0)
    stored = balanced.conv_in.parametrizations.weight.original
    torch.testing.assert_close(stored[:, 4:] * 6.0, wide.conv_in.weight[:, 4:])
    torch.testing.assert_close(passed(balanced, *joined(inputs)), passed(wide, *joined(inputs)))
    plain = network.plain(balanced)
    assert {*plain.state_dict()} == {*wide.state_dict()}, "nothing of the parametrisation is left in what is saved"
    torch.testing.assert_close(plain.conv_in.weight, wide.conv_in.weight)
    torch.testing.assert_close(passed(plain, *joined(inputs)), passed(wide, *joined(inputs)))
    # a step of the stored weights is a step of 6 of those in use: the source is seen from the first steps on
    with torch.no_grad():
        stored += 0.01
    torch.testing.assert_close(balanced.conv_in.weight[:, 4:] - wide.conv_in.weight[:, 4:], torch.full((16, 4, 3, 3), 0.06), rtol=1e-3, atol=1e-5)  # fmt: skip


def test_taps_see_every_block_and_leave_nothing_behind(painter, inputs):
    wide = network.widened(painter, 4)
    net = EditingNetwork(wide, None, None)
    names = tuple(network.blocks(wide))
    assert names == ("down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0", "up_blocks.1")
    said = net(inputs["noisy"], inputs["source"], inputs["times"], states=inputs["states"], taps=names)
    assert {*said} == {"output", *names}
    assert [said[name].shape[1] for name in names] == [16, 32, 32, 32, 16]
    assert not any(module._forward_hooks for module in wide.modules())


# --- conditioning


def test_dropout_by_one_draw_has_its_frequencies():
    """p = 0.1 over 40,000 draws: text alone, both, picture alone 10% each; two draws would leave both out in 4%."""
    found = [dropped(r, 0.1) for r in np.random.default_rng(0).random(40_000)]
    share = {each: found.count(each) / len(found) for each in {*found}}
    for each in ((True, False), (True, True), (False, True)):
        assert abs(share[each] - 0.1) < 0.006, share
    assert dropped(0.0999, 0.05) == (True, True)
    assert dropped(0.1001, 0.05) == (False, True)
    assert dropped(0.1501, 0.05) == (False, False)


def test_examples_drop_conditions_scale_the_edited_and_leave_the_source():
    """Edited: mean 2, variance 1/4, scaling 3 gives mean 6 and deviation 1.5. Source: as cached, or zeros."""
    shape = (4, 8, 8)
    latents = {
        "edited_mean": np.full(shape, 2, np.float16),
        "edited_logvar": np.full(shape, np.log(0.25), np.float16),
        "source": np.full(shape, 0.7, np.float16),
    }
    n = 3000
    drawn = draw(
        [latents] * n, [np.random.default_rng(i) for i in range(n)], scaling=3.0, dropout=0.1, times=range(1000)
    )
    assert abs(float(drawn.edited.mean()) - 6) < 0.02
    assert abs(float(drawn.edited.std()) - 1.5) < 0.02
    there = drawn.source.flatten(1).any(1)
    assert torch.equal(drawn.source[there], torch.full_like(drawn.source[there], np.float16(0.7)))
    assert abs(float((~there).float().mean()) - 0.2) < 0.03
    assert abs(float(drawn.without_text.float().mean()) - 0.2) < 0.03
    assert abs(float((drawn.without_text & ~there).float().mean()) - 0.1) < 0.025
    assert abs(float(drawn.noise.std()) - 1) < 0.01
    assert int(drawn.times.min()) < 10
    assert int(drawn.times.max()) > 990


def test_targets_by_hand():
    """alpha 0.6, sigma 0.8, x0 2, noise -1: z = 0.4, v = -2.2; each of the three says x0 = 2."""
    x0, noise = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0)
    z, alpha, sigma = noised(x0, noise, torch.tensor([0]), torch.tensor([0.36]))
    assert float(z) == pytest.approx(0.4)
    assert float(target_of("v_prediction", x0, noise, alpha, sigma)) == pytest.approx(-2.2)
    for prediction in ("epsilon", "v_prediction", "sample"):
        said = target_of(prediction, x0, noise, alpha, sigma)
        assert float(picture_of(prediction, said, z, alpha, sigma)) == pytest.approx(2.0)


def test_latents_are_the_autoencoders_own(tmp_path):
    """Oracle: the autoencoder, asked directly. The mode isn't scaled; neither is the edited mean, until it is drawn."""
    from PIL import Image

    from distill.editing.latents import LatentTeacher
    from distill.views import View
    from limbeck.models.spec import ModelSpec
    from limbeck.pictures import png

    place = tiny_pipelines.save_sd15(tmp_path / "sd15")
    teacher = LatentTeacher(ModelSpec(id=str(place)), tmp_path, None)
    rng = np.random.default_rng(0)
    before, after = (rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(2))
    teacher.load()
    found = teacher.targets([{"id": "a", "original_image": png(before), "edited_image": png(after)}], [View()])
    facts = teacher.facts()
    teacher.unload()
    vae = diffusers.AutoencoderKL.from_pretrained(place, subfolder="vae")
    with torch.no_grad():
        own = [vae.encode(torch.from_numpy(p).permute(2, 0, 1)[None] / 127.5 - 1).latent_dist for p in (before, after)]
    np.testing.assert_allclose(found["source"], own[0].mode().numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["edited_mean"], own[1].mean.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["edited_logvar"], own[1].logvar.numpy(), rtol=1e-4, atol=1e-4)
    assert facts["scaling"] == vae.config.scaling_factor
    assert [column.type.list_size for column in teacher.columns] == [4 * 8 * 8] * 3
    assert Image.fromarray(before).size == (16, 16)


# --- words


def test_new_words_are_one_token_each_and_old_texts_stay(tmp_path):
    tokenizer = tiny_pipelines.tokenizer()
    text = tiny_pipelines.CLIPTextModel(tiny_pipelines.text_config(len(tokenizer)))
    told = ["make the ball red", "make it night", "remake"]
    before = tokenizer("remake", add_special_tokens=False).input_ids
    pieces = tokenizer("make", add_special_tokens=False).input_ids
    assert len(pieces) == 4
    found = words.unknown_words(tokenizer, told, 3)
    assert found == ["make", "ball", "it"]
    words.add_words(tokenizer, text, found)
    tokenizer.save_pretrained(tmp_path)
    text.save_pretrained(tmp_path)
    for each in (tokenizer, type(tokenizer).from_pretrained(tmp_path)):
        make, ball = each("Make", add_special_tokens=False).input_ids, each("ball.", add_special_tokens=False).input_ids
        assert make == [len(each) - 3]
        assert ball[0] == len(each) - 2
        assert each("remake", add_special_tokens=False).input_ids == before, "a longer word with the same end"
    table = type(text).from_pretrained(tmp_path).get_input_embeddings().weight
    torch.testing.assert_close(table[len(tokenizer) - 3], table[torch.tensor(pieces)].mean(0))
    assert len(table) == len(tokenizer)


# --- pruning


CUTS = [
    Cut(keep_layers=(1, 1)),
    Cut(keep_middle=False),
    Cut(plain_up=(0,)),
    Cut(keep_layers=(2, 1), keep_middle=False, plain_down=(0,), plain_up=(1,)),
]


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_unet_has_the_large_ones_weights_and_loads_with_diffusers(painter, inputs, cut, tmp_path):
    small = pruning.pruned(painter, cut)
    theirs = painter.state_dict()
    for name, value in small.state_dict().items():
        origin = pruning.origin(name, painter.config, small.config)
        assert torch.equal(value, theirs[origin]), f"{name} isn't {origin}"
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in painter.parameters())
    small.save_pretrained(tmp_path)
    loaded = diffusers.UNet2DConditionModel.from_pretrained(tmp_path)
    arguments = inputs["noisy"], inputs["times"], inputs["states"]
    assert torch.equal(passed(loaded, *arguments), passed(small, *arguments))


def test_the_first_and_the_last_layer_of_the_way_up_stay(painter):
    small = pruning.pruned(painter, Cut(keep_layers=(1, 1)))
    large = painter.state_dict()
    for kept, origin in ((0, 0), (1, 2)):
        name = f"up_blocks.0.attentions.{kept}.proj_in.weight"
        assert torch.equal(small.state_dict()[name], large[f"up_blocks.0.attentions.{origin}.proj_in.weight"])
    assert len(small.up_blocks[0].resnets) == 2


def test_leaving_out_a_middle_that_does_nothing_changes_nothing(painter, inputs):
    idle = copy.deepcopy(painter)
    for resnet in idle.mid_block.resnets:
        torch.nn.init.zeros_(resnet.conv2.weight)
        torch.nn.init.zeros_(resnet.conv2.bias)
    for attention in idle.mid_block.attentions:
        torch.nn.init.zeros_(attention.proj_out.weight)
        torch.nn.init.zeros_(attention.proj_out.bias)
    arguments = inputs["noisy"], inputs["times"], inputs["states"]
    small = pruning.pruned(idle, Cut(keep_middle=False))
    torch.testing.assert_close(passed(small, *arguments), passed(idle, *arguments))


def test_cuts_that_cant_be_made_are_told(painter):
    assert pruning.problems(painter.config, CUTS[-1]) == []
    found = pruning.problems(painter.config, Cut(keep_layers=(3, 0), plain_up=(2,)))
    assert found == [
        "keep_layers[0] = 3; the level has 2 layers, and needs one",
        "keep_layers[1] = 0; the level has 2 layers, and needs one",
        "plain_up names level 2; there are levels 0 to 1",
    ]
    assert pruning.problems(painter.config, Cut(keep_layers=(1,)))[0].startswith("keep_layers has 1 entries")


def test_embedded_scales_begin_without_effect(painter, inputs):
    small = pruning.pruned(painter, Cut(), scales=12)
    arguments = inputs["noisy"], inputs["times"], inputs["states"]
    embedded = torch.randn(3, 12)
    torch.testing.assert_close(passed(small, *arguments, timestep_cond=embedded), passed(painter, *arguments))


def test_features_are_compared_at_one_scale_each():
    """Nothing said costs 1 in a loud block and in a quiet one; how rows are batched changes nothing."""
    loud, quiet = torch.randn(4, 8, 4, 4) * 300, torch.randn(4, 8, 4, 4) * 0.003
    for each in (loud, quiet):
        torch.testing.assert_close(normalised_mse(torch.zeros_like(each), each), torch.ones(4))
        torch.testing.assert_close(normalised_mse(each * 0.5, each)[:2], normalised_mse(each[:2] * 0.5, each[:2]))


# --- guidance


@pytest.fixture(scope="module")
def teaching(painter):
    wide = network.widened(painter, 4)
    torch.manual_seed(3)
    torch.nn.init.normal_(wide.conv_in.weight[:, 4:].data, std=0.3)
    with torch.no_grad():
        wide.conv_in.weight[:, 4:] = torch.randn(16, 4, 3, 3) * 0.3
    return wide, EditorTeacher(EditingNetwork(copy.deepcopy(wide), None, None), torch.randn(1, 7, 32))


def test_the_guided_teacher_is_three_passes_put_together(teaching, inputs):
    unet, teacher = teaching
    empty, nothing = teacher._empty.expand(3, -1, -1), torch.zeros_like(inputs["source"])
    noisy, source, times, states = (inputs[k] for k in ("noisy", "source", "times", "states"))
    neither = passed(unet, torch.cat([noisy, nothing], 1), times, empty)
    picture = passed(unet, torch.cat([noisy, source], 1), times, empty)
    both = passed(unet, torch.cat([noisy, source], 1), times, states)
    expected = neither + 1.5 * (picture - neither) + 7.5 * (both - picture)
    found = teacher.guided(noisy, source, times, states, Scales(7.5, 1.5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    each = teacher.guided_each(noisy, source, times, states, torch.full((3,), 7.5), torch.full((3,), 1.5))
    torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-4)
    one = teacher.guided(noisy, source, times, states, Scales(1.0, 1.0))
    torch.testing.assert_close(one, both)


def test_the_teacher_stays_frozen_and_in_evaluation_whatever_happens(teaching, inputs):
    unet, teacher = teaching
    student = EditingNetwork(copy.deepcopy(unet), None, None)
    student.teacher = teacher
    before = teacher.plain(inputs["noisy"], inputs["source"], inputs["times"], inputs["states"])["output"]
    student.train()
    after = teacher.plain(inputs["noisy"], inputs["source"], inputs["times"], inputs["states"])["output"]
    assert torch.equal(before, after)
    assert not after.requires_grad
    own = {name for name, _ in student.named_parameters()}
    assert all(name.startswith("unet.") for name in own)


# --- consistency


def test_the_end_of_the_path_is_the_picture_itself_at_no_noise():
    """The boundary condition: f(z, 0) = z, whatever the network says; at the highest noise f is its picture alone."""
    grid = Grid.of(10, torch.linspace(0.9999, 0.005, 1000))
    z, nonsense = torch.randn(2, 4, 8, 8), torch.full((2, 4, 8, 8), 1e3)
    for prediction in ("epsilon", "v_prediction", "sample"):
        assert torch.equal(grid.end(prediction, nonsense, z, torch.tensor([10, 10])), z)
    assert float(grid.skip[0]) < 1e-5
    assert float(grid.out[0]) > 0.999
    # c_skip^2 / sigma_data^2-free check by hand at t = 99: 0.25 / (990^2 + 0.25), 990 / sqrt(990^2 + 0.25)
    at = grid.times.tolist().index(99)
    assert float(grid.skip[at]) == pytest.approx(0.25 / (990**2 + 0.25), rel=1e-4)
    assert float(grid.out[at]) == pytest.approx(990 / (990**2 + 0.25) ** 0.5)


def test_a_teacher_that_knows_the_picture_leads_straight_to_it():
    """If x0 is certain, every point of z = alpha x0 + sigma noise is on one path: steps stay on it, ends meet in x0."""
    grid = Grid.of(10, torch.linspace(0.9999, 0.005, 1000))
    x0, noise, at = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), torch.tensor([3])
    z = grid.noisy(x0, noise, at)
    for prediction in ("epsilon", "v_prediction", "sample"):
        alpha, sigma = grid.alphas[at].view(-1, 1, 1, 1), grid.sigmas[at].view(-1, 1, 1, 1)
        said = target_of(prediction, x0, noise, alpha, sigma)
        torch.testing.assert_close(grid.step(prediction, said, z, at), grid.noisy(x0, noise, at + 1), rtol=1e-3, atol=1e-3)  # fmt: skip
        torch.testing.assert_close(grid.end(prediction, said, z, at), x0, rtol=1e-3, atol=1e-3)
    last = torch.tensor([9])
    said = target_of(
        "v_prediction", x0, noise, grid.alphas[last].view(-1, 1, 1, 1), grid.sigmas[last].view(-1, 1, 1, 1)
    )
    z = grid.noisy(x0, noise, last)
    torch.testing.assert_close(grid.step("v_prediction", said, z, last), x0, rtol=1e-3, atol=1e-3)


def test_what_is_compared_are_pictures_and_not_outputs():
    """Two times on one path: raw v differ, ends agree."""
    grid = Grid.of(10, torch.linspace(0.9999, 0.005, 1000))
    x0, noise, at = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8), torch.tensor([2])
    outputs, ends = [], []
    for each in (at, at + 4):
        alpha, sigma = grid.alphas[each].view(-1, 1, 1, 1), grid.sigmas[each].view(-1, 1, 1, 1)
        outputs.append(target_of("v_prediction", x0, noise, alpha, sigma))
        ends.append(grid.end("v_prediction", outputs[-1], grid.noisy(x0, noise, each), each))
    assert float((outputs[0] - outputs[1]).abs().mean()) > 0.1
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("points", [5, 10, 20, 50])
def test_inference_asks_at_times_that_were_trained_and_begins_with_noise_alone(points):
    grid = Grid.of(points, torch.linspace(0.9999, 0.005, 1000))
    trained = {*grid.times.tolist()}
    for steps in range(1, points + 1):
        assert {*lcm_timesteps(steps, points).tolist()} <= trained
    scheduler = diffusers.LCMScheduler(original_inference_steps=points)
    for steps in (1, 2, 4):
        scheduler.set_timesteps(steps)
        assert {*scheduler.timesteps.tolist()} <= trained
        assert scheduler.timesteps[0] == grid.times[0]
    noise = torch.randn(1, 4, 8, 8)
    assert torch.equal(grid.noisy(torch.full((1, 4, 8, 8), 1e3), noise, torch.tensor([0])), noise)


def test_huber_by_hand():
    """Difference 3 with c = 4: sqrt(9 + 16) - 4 = 1."""
    assert float(huber(torch.full((1, 1, 1, 1), 3.0), torch.zeros(1, 1, 1, 1), 4.0)) == 1.0


# --- several processes


def _share(rank, world, port, unet, inputs, queue):
    """One process: the gradient of the loss on features, averaged over processes."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    own = EditingNetwork(copy.deepcopy(unet), None, None)
    wrapped = torch.nn.parallel.DistributedDataParallel(own, find_unused_parameters=True)
    part = {k: v[rank::world] for k, v in inputs.items()}
    taps = ("down_blocks.0", "up_blocks.1")
    said = wrapped(part["noisy"], part["source"], part["times"], states=part["states"], taps=taps)
    loss = sum(normalised_mse(said[tap], torch.ones_like(said[tap])).sum() for tap in taps)
    loss.backward()
    queue.put((rank, float(loss), own.unet.conv_in.weight.grad.numpy()))
    queue.close()
    queue.join_thread()
    dist.destroy_process_group()


def test_features_are_learnt_in_every_process(painter, inputs):
    """Oracle: one process with all rows. Losses add up, gradients are the same; no process trains without its hooks."""
    import socket

    unet = network.widened(painter, 4)
    rows = {k: torch.cat([v, v[:1]]) for k, v in inputs.items()}
    own = EditingNetwork(copy.deepcopy(unet), None, None)
    taps = ("down_blocks.0", "up_blocks.1")
    said = own(rows["noisy"], rows["source"], rows["times"], states=rows["states"], taps=taps)
    whole = sum(normalised_mse(said[tap], torch.ones_like(said[tap])).sum() for tap in taps)
    whole.backward()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_share, args=(r, 2, port, unet, rows, queue)) for r in range(2)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for process in processes:
            process.start()
        found = sorted((queue.get(timeout=120) for _ in processes), key=lambda each: each[0])
        for process in processes:
            process.join(60)
    finally:
        torch.set_num_threads(threads)
    losses = [loss for _, loss, _ in found]
    assert all(loss > 0.1 for loss in losses)
    assert sum(losses) == pytest.approx(float(whole.detach()), rel=1e-4)
    for _, _, gradient in found:
        np.testing.assert_allclose(gradient * 2, own.unet.conv_in.weight.grad.numpy(), rtol=1e-3, atol=1e-4)
