"""The sensor's noise is the noise its settings name.

Oracles: the photon-transfer line (variance against mean), the mean of many dithered roundings, row times of a rolling
shutter, and the average of a shutter worked out by hand.
"""

import numpy as np
import pytest
import torch

from limbeck.motion.clip import make_clip
from limbeck.motion.motions import Translation
from limbeck.motion.sensor import add_noise, expose, perturb, quantise
from limbeck.motion.spec import ClipSpec, Layer, Noise, Plain, Sensor
from limbeck.motion.waveforms import Ramp, Sine


@pytest.mark.parametrize("poisson", [False, True])
def test_photon_transfer_slope_and_intercept_are_the_set_ones(poisson):
    sensor = Sensor(shot=1 / 2000, read=0.004, poisson=poisson, seed=5)
    levels = torch.linspace(0.1, 0.9, 9)
    flat = levels[:, None, None, None].expand(9, 3, 160, 160)
    noisy = add_noise(flat.contiguous(), sensor)
    variance = noisy.double().flatten(1).var(1).numpy()
    assert np.allclose(noisy.double().flatten(1).mean(1).numpy(), levels.numpy(), atol=4 * 0.02 / 277)
    slope, intercept = np.polyfit(levels.numpy(), variance, 1)
    assert slope == pytest.approx(1 / 2000, rel=0.03)
    assert intercept == pytest.approx(0.004**2, abs=5e-6)


def test_noise_is_new_in_every_frame_and_the_same_again_for_the_same_seed():
    frames = torch.full((2, 3, 32, 32), 0.5)
    sensor = Sensor(shot=1e-3, seed=1)
    noisy = add_noise(frames, sensor)
    assert not torch.equal(noisy[0], noisy[1])
    assert torch.equal(noisy, add_noise(frames, sensor))
    assert not torch.equal(noisy, add_noise(frames, sensor.model_copy(update={"seed": 2})))
    correlation = np.corrcoef((noisy[0] - 0.5).flatten(), (noisy[1] - 0.5).flatten())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(3 * 32 * 32)


def test_dither_is_unbiased_where_rounding_is_not():
    value = torch.full((1, 3, 200, 200), 102.3 / 255)
    dithered = quantise(value, Sensor(seed=3)).double()
    assert dithered.mean().item() == pytest.approx(102.3, abs=4 * np.sqrt(0.3 * 0.7 / 120_000))
    assert sorted(dithered.unique().tolist()) == [102, 103]
    assert quantise(value, Sensor(dither=False)).unique().tolist() == [102]


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, 3 / 255])
def test_dither_keeps_whole_steps_and_the_ends_of_the_range(value):
    stepped = round(value * 255) / 255
    assert quantise(torch.full((1, 3, 8, 8), stepped, dtype=torch.float64), Sensor()).unique().tolist() == [
        round(value * 255)
    ]


def test_dither_recovers_a_shift_that_rounding_hides():
    x = torch.arange(256, dtype=torch.float64)
    cosine = lambda shift: 0.5 + 1 / 255 * torch.cos(2 * np.pi * (x - shift) / 16)  # noqa: E731  contrast: one step
    errors = {}
    for dither in (True, False):
        shifts = []
        for seed in range(40):
            frames = torch.stack([cosine(0.0), cosine(0.2)])[:, None, None].expand(2, 3, 8, 256).contiguous()
            steps = quantise(frames, Sensor(dither=dither, seed=seed)).double().mean((1, 2))
            phase = torch.angle((steps * torch.exp(-2j * np.pi * x / 16)).sum(1))
            shifts.append(float(phase[0] - phase[1]) * 16 / (2 * np.pi))
        errors[dither] = abs(np.mean(shifts) - 0.2)
    assert errors[True] < 0.05 < errors[False]


def clip_of(motion, **more):
    return ClipSpec(width_px=48, height_px=32, layers=(Layer(texture=Noise(seed=1), motions=(motion,)),), **more)


def test_targets_stay_clean():
    motion = Translation(amplitude_px=0.4, direction_rad=0, waveform=Sine(frequency_hz=4))
    noisy = Sensor(
        shot=1e-3, read=0.01, exposure_s=0.02, readout_s=0.02, drift=Sine(frequency_hz=2), drift_amplitude=0.1
    )
    gains = ({"gain_total": 3.0},)
    dirty, clean = (make_clip(clip_of(motion, frames=4, gains=gains, sensor=s)) for s in (noisy, Sensor(dither=False)))
    assert torch.equal(dirty.magnified, clean.magnified)
    assert torch.equal(dirty.clean, clean.clean)
    assert not torch.equal(dirty.frames, clean.frames)
    assert torch.equal(clean.frames, (clean.clean * 255).round().to(torch.uint8))


def test_the_camera_shakes_in_the_input_and_keeps_still_in_the_targets():
    motion = Translation(amplitude_px=0.4, direction_rad=0, waveform=Sine(frequency_hz=4))
    hand = (Translation(amplitude_px=0.7, direction_rad=1.0, waveform=Sine(frequency_hz=7, phase_rad=0.5)),)
    gains, quiet = ({"gain_total": 3.0},), Sensor(dither=False)
    still = clip_of(motion, frames=4, gains=gains, sensor=quiet)
    shaken, steady = make_clip(still.model_copy(update={"shake": hand})), make_clip(still)
    assert (shaken.magnified - steady.magnified).abs().max() < 1e-6
    assert (shaken.clean[1:] - steady.clean[1:]).abs().amax((1, 2, 3)).min() > 0.01
    assert not torch.allclose(shaken.forward.flow, steady.forward.flow, atol=0.1)  # truth is of what the input shows


def test_shutter_blur_is_the_average_over_the_exposure():
    sensor = Sensor(exposure_s=1 / 30, exposure_samples=4, dither=False)
    motion = Translation(amplitude_px=30.0, direction_rad=0, waveform=Ramp(duration_s=1))
    blurred = make_clip(clip_of(motion, frames=4, sensor=sensor)).frames.double() / 255
    finer = clip_of(motion, frames=40, fps=(240, 1), sensor=Sensor(dither=False))
    clean = make_clip(
        finer
    ).clean.double()  # frame k at k / 240 s; 4 samples of frame 2 (at 16/240) lie at 13, 15, 17, 19
    assert (blurred[2] - clean[[13, 15, 17, 19]].mean(0)).abs().max() < 0.5 / 255 + 1e-5
    assert (blurred[2] - clean[16]).abs().max() > 1 / 255


def test_rolling_shutter_gives_every_row_its_own_time():
    motion = Translation(amplitude_px=4.0, direction_rad=0, waveform=Ramp(duration_s=2 / 30))
    still = clip_of(motion, frames=3, sensor=Sensor(dither=False))
    rolled = make_clip(still.model_copy(update={"sensor": Sensor(dither=False, readout_s=1 / 30)}))
    fine = make_clip(still.model_copy(update={"fps": (1920, 1), "frames": 128, "sensor": Sensor(dither=False)}))
    # Frame 1 lies at 64/1920 s; row r is read (r - 15.5) / 32 of 1/30 s later, which is (r - 15.5) * 2 fine frames.
    for row in (0, 7, 20, 31):
        expected = fine.clean[64 + 2 * row - 31, :, row]
        assert (rolled.frames[1, :, row] / 255 - expected).abs().max() < 0.5 / 255 + 1e-4


def test_drift_and_perturbation_change_brightness_as_written():
    clip = ClipSpec(
        width_px=8, height_px=8, frames=3, fps=(4, 1), layers=(Layer(texture=Plain(colour=(0.2, 0.4, 0.6))),),
        sensor=Sensor(drift=Sine(frequency_hz=1.0), drift_amplitude=0.1),
        perturbation=((0.5, 1.0, 1.0), (0.0, 0.1, 0.0)),
    )  # fmt: skip
    plain = torch.tensor([0.2, 0.4, 0.6])[:, None, None].expand(3, 1, 3, 8, 8)
    drifted = expose(clip, plain.contiguous())
    assert drifted[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.22, 0.2])  # sin at 0, 1/4 s, 1/2 s
    perturbed = perturb(clip, plain[:, 0].contiguous())
    assert perturbed[0, :, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6])
    assert perturbed[2, :, 0, 0].tolist() == pytest.approx([0.1, 0.5, 0.6])
