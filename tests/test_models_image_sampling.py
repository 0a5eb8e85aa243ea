"""Samplers and noise schedules.

Oracle: diffusers' schedulers given the same noise, and k-diffusion's formulas worked out here.
"""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch

from limbeck.models import sampling
from limbeck.models.noise import standard_normal

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHAPE = (2, 4, 6, 6)


def network(unit: torch.Tensor, time: float) -> torch.Tensor:
    """Stands for a U-Net: any smooth function of its scaled input and the time."""
    return torch.tanh(1.3 * unit.roll(1, -1) + 0.4 * unit + time / 1500)


def noise(step: int) -> torch.Tensor:
    """Noise after a step; -1 is the initial latent."""
    return standard_normal([5, 6], step + 1, SHAPE[1:])


def ours(name, times, sigmas, prediction, start, consistency=False):
    def denoise(x, i):
        unit = x / (sigmas[i] ** 2 + 1).sqrt()
        picture = sampling.predicted_picture(network(unit, times[i]), x, sigmas[i], prediction)
        skip, out = sampling.consistency_scalings(times[i]) if consistency else (0.0, 1.0)
        return skip * unit + out * picture

    return sampling.SAMPLERS[name](denoise, noise(-1) * start, sigmas, noise)


def theirs(scheduler, module, monkeypatch, start, steps):
    """Runs a diffusers scheduler on the same network and the same noise."""
    drawn = iter(range(1000))
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: noise(next(drawn)))
    scheduler.set_timesteps(steps)
    x = noise(-1) * start
    for time in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, time), float(time)), time, x).prev_sample
    return x


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_ancestral_equals_diffusers(monkeypatch, prediction):
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        **BETAS, prediction_type=prediction, timestep_spacing="trailing"
    )
    times = sampling.timesteps(10, "trailing")
    sigmas = sampling.sigmas_at(times, scheduler.alphas_cumprod)
    module = diffusers.schedulers.scheduling_euler_ancestral_discrete
    expected = theirs(scheduler, module, monkeypatch, sigmas[0], 10)
    assert torch.allclose(scheduler.sigmas, sigmas, rtol=1e-5)
    actual = ours("euler_ancestral", times, sigmas, prediction, sigmas[0])
    assert (actual - expected).abs().max() < 1e-4
    assert (ours("ddim", times, sigmas, prediction, sigmas[0]) - expected).abs().max() > 0.1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_equals_diffusers(monkeypatch, prediction, spacing):
    scheduler = diffusers.DDIMScheduler(
        **BETAS, prediction_type=prediction, timestep_spacing=spacing, steps_offset=1, clip_sample=False
    )
    times = sampling.timesteps(10, spacing, offset=1)
    sigmas = sampling.sigmas_at(times, scheduler.alphas_cumprod)
    expected = theirs(scheduler, diffusers.schedulers.scheduling_ddim, monkeypatch, 1.0, 10)
    assert scheduler.timesteps.tolist() == times.tolist()
    actual = ours("ddim", times, sigmas, prediction, (sigmas[0] ** 2 + 1).sqrt())
    assert (actual - expected).abs().max() < 1e-4


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_lcm_equals_diffusers(monkeypatch, prediction, steps):
    scheduler = diffusers.LCMScheduler(**BETAS, prediction_type=prediction)
    times = sampling.lcm_timesteps(steps)
    sigmas = sampling.sigmas_at(times, scheduler.alphas_cumprod)
    expected = theirs(scheduler, diffusers.schedulers.scheduling_lcm, monkeypatch, 1.0, steps)
    assert scheduler.timesteps.tolist() == times.tolist()
    actual = ours("lcm", times, sigmas, prediction, (sigmas[0] ** 2 + 1).sqrt(), consistency=True)
    assert (actual - expected).abs().max() < 1e-4


def test_linspace_is_k_diffusion_s_schedule():
    """Oracle: `DiscreteSchedule.t_to_sigma`, which interpolates the logarithm between two training times."""
    alphas = diffusers.DDIMScheduler(**BETAS).alphas_cumprod
    log_sigma = (((1 - alphas) / alphas) ** 0.5).log().double().numpy()
    times = sampling.timesteps(100, "linspace")
    expected = [np.exp((1 - t % 1) * log_sigma[int(t)] + t % 1 * log_sigma[min(int(t) + 1, 999)]) for t in times]
    actual = sampling.sigmas_at(times, alphas).numpy()
    assert np.allclose(actual[:-1], expected, rtol=1e-5)
    assert actual[-1] == 0
    assert (times[0], times[-1]) == (999, 0)
    assert abs(times[1] - (999 - 999 / 99)) < 1e-9


def test_a_schedule_that_ends_without_signal_has_a_finite_first_level():
    scheduler = diffusers.DDIMScheduler(**BETAS, rescale_betas_zero_snr=True)
    sigmas = sampling.sigmas_at(sampling.timesteps(5, "trailing"), scheduler.alphas_cumprod)
    assert abs(float(sigmas[0]) - 4096) < 1  # sqrt(2**24), diffusers' own stand-in
    picture = ours("ddim", sampling.timesteps(5, "trailing"), sigmas, "v_prediction", (sigmas[0] ** 2 + 1).sqrt())
    assert picture.abs().max() < 20


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match="expected 1 to 1000"):
        sampling.timesteps(steps, "linspace")


def test_noise_depends_on_its_own_seed_and_step_alone():
    alone = standard_normal([2**64 - 1], 3, (4, 8, 8))
    among = standard_normal([1, 2**64 - 1, 2], 3, (4, 8, 8))
    assert torch.equal(alone[0], among[1])
    assert alone.dtype == torch.float32
    draws = [
        standard_normal([seed], step, (4, 8, 8)) for seed in (7, 7 + 2**32, 2**64 - 7, 2**64 - 8) for step in (0, 1, 99)
    ]
    assert len({draw.numpy().tobytes() for draw in draws}) == 12, "torch's CPU generator would repeat 7 at 7 + 2**32"
    many = standard_normal(range(50), 0, (4, 32, 32))
    assert abs(many.mean()) < 0.01
    assert abs(many.std() - 1) < 0.01


def test_noise_is_the_same_as_ever():
    """Oracle: recorded values; a change would silently change every seed's picture."""
    values = standard_normal([7], 0, (4, 8, 8)).flatten()[:3].tolist()
    assert np.allclose(values, [-0.2933390, 1.7038306, 1.5391918], rtol=0, atol=1e-6)
