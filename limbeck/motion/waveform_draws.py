"""Drawing waveforms: what fits a clip's length and frame rate."""

from __future__ import annotations

import math

import numpy as np

from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.pose import since_rest
from limbeck.motion.waveforms import Breathing, Chirp, Damped, Heartbeat, Modes, Partial, Ramp, Sine, Sway, Waveform

_TAU = 2 * math.pi


def draw_waveform(rng: np.random.Generator, settings: ClipSettings) -> Waveform:
    """A waveform with at least one period in the clip and nothing above 0.45 of the frame rate."""
    fps = settings.fps[0] / settings.fps[1]
    duration = (settings.frames - 1) / fps
    if settings.frames <= 2:
        return Ramp(duration_s=max(duration, 1 / fps))
    phase = float(rng.uniform(0, _TAU))
    lowest, highest = 1 / duration, 0.45 * fps
    kind = str(rng.choice(settings.waveforms))
    headroom = {"heartbeat": 5.0, "breathing": 2.0, "sway": 1.15, "modes": 2.5}.get(kind, 1.0)
    if lowest * headroom >= highest:  # too few frames for that many harmonics
        kind, headroom = "sine", 1.0
    frequency = log_uniform(rng, (min(lowest, highest), highest / headroom))
    match kind:
        case "modes":
            ratios = (1.0, float(rng.uniform(1.3, 1.8)), float(rng.uniform(1.9, 2.5)))
            return Modes(
                partials=tuple(
                    Partial(frequency_hz=frequency * ratio, weight=0.6**k, phase_rad=float(rng.uniform(0, _TAU)))
                    for k, ratio in enumerate(ratios)
                )
            )
        case "damped":
            return Damped(natural_frequency_hz=frequency, damping_ratio=float(rng.uniform(0.01, 0.1)), phase_rad=phase)
        case "chirp":
            end = log_uniform(rng, (min(lowest, highest), highest))
            return Chirp(start_hz=frequency, end_hz=end, duration_s=duration, phase_rad=phase)
        case "heartbeat":
            return Heartbeat(frequency_hz=frequency, phase_rad=phase)
        case "breathing":
            return Breathing(frequency_hz=frequency, phase_rad=phase)
        case "sway":
            return Sway(frequency_hz=frequency, phase_rad=phase)
    return Sine(frequency_hz=frequency, phase_rad=phase)


def largest_value(settings: ClipSettings, waveform: Waveform) -> float:
    """Largest value, counted from rest, at any frame."""
    times = np.arange(settings.frames) * settings.fps[1] / settings.fps[0]
    return float(np.abs(since_rest(waveform, times)).max())


def log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    """A number whose logarithm is uniform between those of the limits."""
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))
