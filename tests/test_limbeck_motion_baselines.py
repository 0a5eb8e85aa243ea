"""Both baselines do what their theory says.

Oracles: arctan(z) / z on a cosine (linear magnification in the limit of large gain), exact phase multiplication of a
cosine (phase-based), and perfect reconstruction at gain 1.
"""

import numpy as np
import pytest
import torch

from limbeck.motion.eulerian import grating_gain, magnify_linear
from limbeck.motion.phase_based import magnify_phase, steerable_filters

PERIOD = 16.0


def gratings(shift_px):
    x = torch.arange(64, dtype=torch.float64)
    rows = torch.stack([0.5 + 0.3 * torch.cos(2 * np.pi * (x - d) / PERIOD) for d in (0.0, shift_px)])
    return rows[:, None, None, :].expand(2, 3, 64, 64).contiguous()


def shown_shift(frames):
    x = torch.arange(64, dtype=torch.float64)
    phase = torch.angle((frames[:, 0, 0] * torch.exp(-2j * np.pi * x / PERIOD)).sum(1))
    return float(phase[0] - phase[1]) * PERIOD / (2 * np.pi)


@pytest.mark.parametrize(("part", "factor"), [(16, 0.953), (8, 0.848), (4, 0.639), (2, 0.402)])
def test_linear_magnification_falls_short_by_the_arctangent(part, factor):
    total, gain = PERIOD / part, 10_000.0
    shown = shown_shift(magnify_linear(gratings(total / gain), gain))
    assert shown / total == pytest.approx(factor, abs=6e-4)
    assert shown / total == pytest.approx(grating_gain(total, PERIOD), rel=1e-3)


@pytest.mark.parametrize("part", [16, 8, 4, 2.2])
def test_phase_based_magnification_moves_a_grating_by_all_of_it(part):
    total, gain = PERIOD / part, 40.0
    assert shown_shift(magnify_phase(gratings(total / gain), gain)) / total == pytest.approx(1, abs=1e-3)


def test_gain_one_returns_the_frames():
    frames = torch.rand(3, 3, 48, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (magnify_phase(frames, 1.0) - frames).abs().max() < 1e-9
    assert torch.equal(magnify_linear(frames, 1.0, temporal=lambda change: change), frames)
    assert (magnify_linear(frames, 1.0) - frames).abs().max() < 1e-15


def test_temporal_filter_chooses_what_is_magnified():
    frames = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(magnify_linear(frames, 50.0, temporal=torch.zeros_like), frames)


@pytest.mark.parametrize("orientations", [2, 4, 8])
def test_pyramid_tiles_the_spectrum(orientations):
    bands, residual = steerable_filters(64, 48, 4, orientations, torch.zeros(1, dtype=torch.float64))
    power = (bands**2).sum(0)
    total = power + power.flip(-1, -2).roll((1, 1), (-1, -2)) + residual
    assert (total - 1).abs().max() < 1e-9
    fine = residual[20:32, :24]  # below half the sampling frequency, where a real signal still has a phase
    assert fine.max() < 1e-9
