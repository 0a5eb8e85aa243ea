"""Training batches on the device are the clips of the stream, but for the draws of their noise.

Oracles: `ClipStream`, clip by clip; the photon-transfer line for the noise.
"""

import numpy as np
import pytest
import torch

from limbeck.errors import SettingError
from limbeck.motion.batch import Bank
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.render import build_scene
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Gain, Layer, Plain, Sensor
from limbeck.motion.stream import ClipStream
from limbeck.motion.training import training_batch

SETTINGS = ClipSettings(width_px=40, height_px=32, frames=3, objects=(1, 3), gains=2, colour_perturbation=0.2)
SUBSETS = ("ordinary", "shake", "pulse", "flicker_only", "static")
QUIET = {"shot": 0.0, "read": 0.0, "dither": False}


def bank_of(specs):
    return Bank.of([build_scene(spec) for spec in specs])


def quiet(spec):
    return spec.model_copy(update={"sensor": spec.sensor.model_copy(update=QUIET)})


def test_without_noise_a_batch_is_the_stream():
    specs = [quiet(draw_clip(SETTINGS, subset, seed)) for seed, subset in enumerate(SUBSETS)]
    assert any(spec.perturbation[0] != (1.0, 1.0, 1.0) for spec in specs)
    batch = training_batch(bank_of(specs), [4, 3, 2, 1, 0])
    for index, sample in enumerate(ClipStream(specs[::-1])):
        assert (batch["frames"][index] - sample["frames"]).abs().max() <= 1.01 / 255  # where rounding is a tie
        assert (batch["frames"][index] - sample["frames"]).abs().mean() < 1e-5
        for name in ("magnified", "gain_total", "flow_forward"):
            assert batch[name][index].shape == sample[name].shape
            torch.testing.assert_close(batch[name][index], sample[name], atol=2e-6, rtol=1e-6)


def test_noise_lies_on_the_photon_transfer_line_and_is_new_everywhere():
    specs = [
        ClipSpec(
            width_px=96, height_px=96, frames=2, layers=(Layer(texture=Plain(colour=(level,) * 3)),),
            gains=(Gain(gain_total=2),), sensor=Sensor(shot=1 / 500, read=0.01),
        )
        for level in (0.2, 0.5, 0.8)
    ]  # fmt: skip
    frames = training_batch(bank_of(specs), range(3), torch.Generator().manual_seed(1))["frames"].double()
    levels, variance = frames.flatten(1).mean(1).numpy(), frames.flatten(1).var(1).numpy()
    assert levels == pytest.approx([0.2, 0.5, 0.8], abs=1e-3)
    slope, intercept = np.polyfit(levels, variance, 1)
    assert slope == pytest.approx(1 / 500, rel=0.05)
    assert intercept == pytest.approx(0.01**2 + (1 / 255) ** 2 / 6, abs=3e-5)  # dither adds a sixth of a step squared
    one, other = (frames[1, t].flatten() - 0.5 for t in (0, 1))
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(one.numel())


def test_a_clip_with_a_generator_of_its_own_is_the_same_in_any_batch():
    """Oracle: each clip alone, bit by bit."""
    bank = bank_of([draw_clip(SETTINGS, subset, seed) for seed, subset in enumerate(SUBSETS)])
    order = [4, 0, 2, 0]
    together = training_batch(bank, order, [torch.Generator().manual_seed(n) for n in range(4)])
    for n, clip in enumerate(order):
        alone = training_batch(bank, [clip], [torch.Generator().manual_seed(n)])
        assert all(torch.equal(together[name][n], value[0]) for name, value in alone.items())
    assert not torch.equal(together["frames"][1], together["frames"][3])


def test_what_makes_no_batch_is_refused():
    one = draw_clip(SETTINGS, "ordinary", 1)
    longer = draw_clip(SETTINGS.model_copy(update={"frames": 4}), "ordinary", 1)
    with pytest.raises(SettingError, match="clips of 2 kinds"):
        training_batch(bank_of([one, longer]), [0, 1])
    blurred = one.model_copy(update={"sensor": Sensor(exposure_s=0.01)})
    with pytest.raises(SettingError, match="shutter time"):
        training_batch(bank_of([blurred]), [0])
