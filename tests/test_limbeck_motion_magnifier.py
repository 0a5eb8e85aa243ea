"""The magnifier's arithmetic and its saved form.

Oracles: cosines shifted by their formula; what the architecture promises, whatever the weights; the saved file's own
tensors.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from safetensors import safe_open

from limbeck.errors import ModelNotFound, SettingError
from limbeck.motion.local_shift import local_shifts
from limbeck.motion.magnifier import Magnifier, MagnifierConfig
from limbeck.motion.warp import moved

FULL_SIZE = {"width": 36, "windows": (4, 3, 3, 2), "rings": (1, 2, 4, 8), "bound_px": 30.0}


def waves(shift, period=9.0, side=64):
    """Waves across and along, moved by (dx, dy)."""
    x = torch.arange(side, dtype=torch.float64)
    across = torch.cos(2 * np.pi * (x - shift[0]) / period)
    along = torch.cos(2 * np.pi * (x - shift[1]) / period)
    return (0.5 + 0.15 * (across[None, :] + along[:, None])).expand(1, 3, side, side).float().contiguous()


def tossed(config=None, seed=0):
    """A magnifier whose weights are all random, those that start at zero too."""
    model = Magnifier(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model


def noise(seed, shape=(2, 3, 48, 40)):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("period", [6.0, 9.0, 16.0])
def test_measured_shifts_are_the_true_ones(size, period):
    """Oracle: the shift put in. A twentieth of it is what a difference of two samples may miss at 6 px and half a pixel."""
    shift = (size * 0.8, -size * 0.6)
    shifts, _ = local_shifts(waves((0, 0), period), waves(shift, period), (4, 2))
    middle = shifts[0, :, :, 8, 8]
    assert middle.shape == (6, 2)
    for found in middle[:4]:  # at full size
        assert torch.allclose(found, torch.tensor(shift), rtol=0.05, atol=1e-4)
    swapped = torch.tensor(shift[::-1])
    assert not torch.allclose(middle[0], swapped, rtol=0.3)


def test_windows_average_noise_away():
    """Oracle: the standard error of a mean: an area 8 times as wide scatters several times less."""
    generator = torch.Generator().manual_seed(0)
    still = waves((0, 0))
    noisy = [still + 0.01 * torch.randn(still.shape, generator=generator) for _ in range(2)]
    shifts, _ = local_shifts(*noisy, (4,))
    scatter = shifts[0, :, :, 4:-4, 4:-4].flatten(1).std(1)
    assert scatter[0] > 3 * scatter[3]


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-0.25, 0.7), (3.3, -2.0)])
def test_frames_move_without_smearing(shift):
    """Oracle: the cosine itself, half a pixel away too; the sign is that of motion."""
    towards = torch.tensor(shift).reshape(1, 2, 1, 1).expand(1, 2, 64, 64)
    found = moved(waves((0, 0)), towards)
    inner = (..., slice(8, -8), slice(8, -8))
    assert (found - waves(shift))[inner].abs().max() < 1e-3
    assert (found - waves([-v for v in shift]))[inner].abs().max() > 0.05


def test_what_does_not_move_does_not_change():
    frames = noise(0)
    assert (moved(frames, torch.zeros(2, 2, 48, 40)) - frames).abs().max() < 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_gain_one_hands_the_second_frame_back_whatever_the_weights(seed):
    first, second = noise(2), noise(3)
    found = tossed(seed=seed)(first, second, torch.ones(2))
    assert (found - second).abs().max() < 1e-5
    assert (tossed(seed=seed)(first, second, torch.full((2,), 1.5)) - second).abs().max() > 1e-3


def test_equal_frames_stay_whatever_the_weights():
    """Without the correction at full size nothing can appear where nothing differs."""
    frames = noise(4)
    found = tossed(MagnifierConfig(refine=0))(frames, frames, torch.full((2,), 50.0))
    assert (found - frames).abs().max() < 1e-5


def test_fresh_weights_magnify_already():
    """Oracle: the plaid moved by gain times its motion; a tenth is missing, since `none` is believed like any window."""
    model, gain = Magnifier(), torch.tensor([10.0])
    found = model(waves((0, 0)), waves((0.1, 0.05)), gain)
    inner = (..., slice(12, -12), slice(12, -12))
    wanted = waves((1.0, 0.5))
    near = (found - wanted)[inner].abs().mean()
    assert near < 0.25 * (waves((0.1, 0.05)) - wanted)[inner].abs().mean()


def test_any_size_will_do():
    """Oracle: the same frames cut from larger ones, away from the border that was made up."""
    model = Magnifier(MagnifierConfig(windows=(2,)))
    first, second = waves((0, 0), side=61)[..., :50], waves((0.2, 0), side=61)[..., :50]
    found = model(first, second, torch.tensor([4.0]))
    assert found.shape == (1, 3, 61, 50)
    whole = model(waves((0, 0)), waves((0.2, 0)), torch.tensor([4.0]))
    assert (found - whole[..., :61, :50])[..., :30, :20].abs().max() < 0.02


@pytest.mark.parametrize("config", [{}, FULL_SIZE])
def test_it_is_small(config):
    assert 50_000 < sum(p.numel() for p in Magnifier(MagnifierConfig(**config)).parameters()) <= 300_000


def test_saved_and_loaded(tmp_path):
    """Oracle: outputs to the bit; the tensors of the file are the model's, and nothing but safetensors is written."""
    model = tossed(MagnifierConfig(width=8, windows=(2, 1), rings=(1,), refine=4, max_gain=20.0))
    model.save_pretrained(tmp_path)
    again = Magnifier.from_pretrained(tmp_path)
    assert again.config == model.config
    assert not again.training
    first, second, gain = noise(5), noise(6), torch.tensor([3.0, 9.0])
    assert torch.equal(again(first, second, gain), model(first, second, gain))
    assert {p.name for p in tmp_path.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert {*file.keys()} == {*dict(model.named_parameters())}


def test_folders_that_hold_something_else(tmp_path):
    with pytest.raises(ModelNotFound, match=r"no config\.json"):
        Magnifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(ModelNotFound, match="another model's"):
        Magnifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "limbeck_magnifier", "widht": 8}))
    with pytest.raises(ModelNotFound, match=r"widht.*Did you mean 'width'"):
        Magnifier.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "limbeck_magnifier", "width": 8}))
    with pytest.raises(ModelNotFound, match=r"no model\.safetensors"):
        Magnifier.from_pretrained(tmp_path)
    Magnifier(MagnifierConfig(width=16)).save_pretrained(tmp_path / "other")
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ModelNotFound, match="don't fit"):
        Magnifier.from_pretrained(tmp_path)


def test_frames_and_gains_that_make_no_sense():
    model = Magnifier(MagnifierConfig(max_gain=40.0))
    frame = torch.zeros(3, 32, 32)
    with pytest.raises(SettingError, match=r"\(3, 32, 32\) and \(3, 32, 36\)"):
        model.magnify(frame, torch.zeros(3, 32, 36), 5.0)
    with pytest.raises(SettingError, match="first of shape"):
        model.magnify(torch.zeros(1, 32, 32), frame, 5.0)
    with pytest.raises(SettingError, match="16 px or more"):
        model.magnify(torch.zeros(3, 8, 32), torch.zeros(3, 8, 32), 5.0)
    for gain in (0.0, -2.0, float("nan"), torch.tensor([2.0, 3.0])):
        with pytest.raises(SettingError, match="positive number"):
            model.magnify(frame, frame, gain)
    with pytest.warns(UserWarning, match="gain 41 is outside the trained range of 1 to 40"):
        model.magnify(frame, frame, 41.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.magnify(frame.byte(), frame.byte(), 40.0).shape == (3, 32, 32)
    with pytest.raises(SettingError, match="width of MagnifierConfig"):
        MagnifierConfig(width=0)


def test_a_clip_is_magnified_against_its_first_frame():
    model = tossed()
    clip = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    found = model.magnify_clip(clip, 3.0, batch=2)
    assert torch.equal(found[0], clip[0])
    assert (found[3] - model.magnify(clip[0], clip[3], 3.0)).abs().max() < 1e-5
