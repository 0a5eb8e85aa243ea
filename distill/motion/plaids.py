"""Crossed gratings whose motion is known by heart: no renderer, no interpolation, the shift read off the phase.

    frame(p, q) = mean + contrast * (cos(2 pi (x - dx) / p) + cos(2 pi (y - dy) / p))

A magnified plaid is taken apart by projection onto its two waves; the phase of each is the shift along its axis. What
a magnifier shows is thus a vector, so that half the gain, no gain and swapped axes are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limbeck import seeds

Magnify = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""First frames (N, 3, H, W), second frames, gains (N,) -> magnified frames."""

MEAN, CONTRAST = 0.5, 0.16
STEPS = 255


def plaid(side_px: int, period_px: float, shift_px: Sequence[float], seed: int | None = None) -> NDArray[np.float32]:
    """(3, S, S): a plaid moved by (dx, dy); with a seed, recorded in 8 bits with dither.

    Args:
        side_px: of the frame.
        period_px: of both waves.
        shift_px: (dx, dy).
        seed: of the dither; None leaves it exact.
    """
    at = 2 * np.pi / period_px * (np.arange(side_px)[None] - np.asarray(shift_px, np.float64)[:, None])
    wave_x, wave_y = np.cos(at)
    one = MEAN + CONTRAST * (wave_x[None, :] + wave_y[:, None])
    frame = np.repeat(one[None], 3, 0)
    if seed is not None:
        uniform = seeds.rng(seed, "plaid", "dither").random(frame.shape)
        frame = np.floor(frame * STEPS + uniform).clip(0, STEPS) / STEPS
    return frame.astype(np.float32)


def shift_of(frame: NDArray[np.float32], period_px: float) -> NDArray[np.float64]:
    """(2,) the shift (dx, dy) of a plaid, in (-p/2, p/2].

    >>> shift_of(plaid(48, 12, (1.25, -2.5)), 12).round(4).tolist()
    [1.25, -2.5]
    """
    side = frame.shape[-1]
    whole = int((side - 8) // period_px * period_px)  # a whole number of periods, clear of the rim
    start = (side - whole) // 2
    inner = frame.mean(0, dtype=np.float64)[start : start + whole, start : start + whole]
    wave = np.exp(-2j * np.pi * (np.arange(whole) + start) / period_px)
    phase = np.angle([(inner.mean(0) * wave).sum(), (inner.mean(1) * wave).sum()])
    return -phase * period_px / (2 * np.pi)


@dataclass(frozen=True)
class GainPoint:
    """What was asked of a magnifier, and what it showed.

    Attributes:
        period_px: of the plaid.
        motion_px: of the input.
        asked: gain.
        shown: gain along the motion.
        direction_deg: between what was shown and the motion.
    """

    period_px: float
    motion_px: float
    asked: float
    shown: float
    direction_deg: float


def gain_curve(
    magnify: Magnify,
    side_px: int,
    gains: Sequence[float],
    motions_px: Sequence[float] = (0.02, 0.05, 0.2),
    periods_px: Sequence[float] = (8, 16),
    most_px: float = np.inf,
    angle_rad: float = 0.5,
) -> list[GainPoint]:
    """Gain shown over gain asked, on plaids that are recorded in 8 bits.

    Args:
        magnify: what is measured.
        side_px: of the frames.
        gains: asked.
        motions_px: of the input.
        periods_px: of the plaids.
        most_px: the largest magnified motion that is asked for. It never exceeds 0.4 periods, beyond which a phase
            could be taken for another.
        angle_rad: of the motion.
    """
    asked = [
        (period, motion, gain)
        for period in periods_px
        for motion in motions_px
        for gain in gains
        if motion * gain <= min(most_px, 0.4 * period)
    ]
    towards = np.array([np.cos(angle_rad), np.sin(angle_rad)])
    first = np.stack([plaid(side_px, period, (0.0, 0.0), 2 * n) for n, (period, _, _) in enumerate(asked)])
    second = np.stack([plaid(side_px, p, motion * towards, 2 * n + 1) for n, (p, motion, _) in enumerate(asked)])
    out = magnify(first, second, np.array([gain for *_, gain in asked], np.float32))
    found = []
    for frame, (period, motion, gain) in zip(out, asked, strict=True):
        along, across = _turned(shift_of(frame, period), towards)
        found.append(GainPoint(period, motion, gain, along / motion, float(np.degrees(np.arctan2(across, along)))))
    return found


def _turned(shift: NDArray[np.float64], towards: NDArray[np.float64]) -> tuple[float, float]:
    """Parts of a shift along and across a direction."""
    return float(shift @ towards), float(shift @ np.array([-towards[1], towards[0]]))


@dataclass(frozen=True)
class Vibration:
    """A magnified vibration against the true one.

    Attributes:
        frequency_hz: true.
        frequency_error_hz: of the strongest peak.
        amplitude_ratio: of the fundamental, over gain times the true amplitude.
        phase_error_deg: of the fundamental.
        distortion: amplitude of all harmonics over that of the fundamental.
    """

    frequency_hz: float
    frequency_error_hz: float
    amplitude_ratio: float
    phase_error_deg: float
    distortion: float


def vibration(
    magnify: Magnify,
    side_px: int,
    frequency_hz: float,
    amplitude_px: float,
    gain: float,
    period_px: float = 16,
    fps: float = 30,
    frames: int = 60,
    angle_rad: float = 0.5,
) -> Vibration:
    """Magnifies a plaid that vibrates as a sine, each frame against the first, and reads the motion off the result."""
    times, towards = np.arange(frames) / fps, np.array([np.cos(angle_rad), np.sin(angle_rad)])
    true = amplitude_px * np.sin(2 * np.pi * frequency_hz * times)
    recorded = np.stack([plaid(side_px, period_px, d * towards, t) for t, d in enumerate(true)])
    first = np.repeat(recorded[:1], frames, 0)
    out = magnify(first, recorded, np.full(frames, gain, np.float32))
    track = np.array([_turned(shift_of(frame, period_px), towards)[0] for frame in out])
    return spectrum_of(track, frequency_hz, gain * amplitude_px, fps)


def spectrum_of(track_px: NDArray[np.float64], frequency_hz: float, amplitude_px: float, fps: float) -> Vibration:
    """Compares a measured motion with the sine `amplitude_px * sin(2 pi frequency_hz t)`.

    >>> t = np.arange(60) / 30
    >>> found = spectrum_of(2 * np.sin(2 * np.pi * 3.0 * t), 3.0, 4.0, 30)
    >>> round(found.frequency_error_hz, 6), round(found.amplitude_ratio, 6), round(found.distortion, 6)
    (0.0, 0.5, 0.0)
    """
    times = np.arange(len(track_px)) / fps
    centred = track_px - track_px.mean()
    grid = np.arange(1, int(fps / 2 * 100)) / 100  # finer than 1 / T: the peak between bins
    power = np.abs(np.exp(-2j * np.pi * grid[:, None] * times) @ (centred * np.hanning(len(times))))
    peak_hz = float(grid[power.argmax()])
    orders = [n for n in (1, 2, 3, 4) if n * frequency_hz < fps / 2]
    columns = [np.ones_like(times)]
    for n in orders:
        columns += [np.sin(2 * np.pi * n * frequency_hz * times), np.cos(2 * np.pi * n * frequency_hz * times)]
    fit = np.linalg.lstsq(np.stack(columns, 1), track_px, rcond=None)[0][1:].reshape(-1, 2)
    sizes = np.hypot(fit[:, 0], fit[:, 1])
    return Vibration(
        frequency_hz=frequency_hz,
        frequency_error_hz=abs(peak_hz - frequency_hz),
        amplitude_ratio=float(sizes[0] / amplitude_px),
        phase_error_deg=float(np.degrees(np.arctan2(fit[0, 1], fit[0, 0]))),
        distortion=float(np.sqrt(np.square(sizes[1:]).sum()) / sizes[0]) if sizes[0] > 0 else float("inf"),
    )
