"""When things move: unit waveforms over time.

A waveform maps seconds to a number in [-1, 1]; the amplitude belongs to what it drives. Each knows
its labelled `frequency_hz` (the FFT peak of a track that it drives) and `highest_frequency_hz`,
which has to stay at or below half the frame rate unless a clip says that it aliases on purpose.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat
from typing_extensions import override

from limbeck.motion.frozen import Spec

_TAU = 2 * np.pi
_HEART_HARMONICS = 5


class UnitWave(Spec, ABC):
    """A unit function of time."""

    @property
    @abstractmethod
    def highest_frequency_hz(self) -> float:
        """Nothing in it is faster."""

    @abstractmethod
    def value(self, time_s: np.ndarray) -> np.ndarray:
        """In [-1, 1], at times of any shape, float64."""


class Ramp(UnitWave):
    """From 0 to 1 in `duration_s`, then still: the two-frame displacement of Oh et al. (2018)."""

    kind: Literal["ramp"] = "ramp"
    duration_s: PositiveFloat

    @property
    def frequency_hz(self) -> float:
        """Zero: a ramp is no oscillation."""
        return 0.0

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return 0.0

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        return np.clip(np.asarray(time_s, np.float64) / self.duration_s, 0.0, 1.0)


class Sine(UnitWave):
    """`sin(2 pi f t + phase)`."""

    kind: Literal["sine"] = "sine"
    frequency_hz: PositiveFloat
    phase_rad: float = 0.0

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return self.frequency_hz

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        return np.sin(_TAU * self.frequency_hz * np.asarray(time_s, np.float64) + self.phase_rad)


class Partial(Spec):
    """One sine of a sum."""

    frequency_hz: PositiveFloat
    weight: PositiveFloat
    phase_rad: float = 0.0


class Modes(UnitWave):
    """A weighted sum of sines, divided by the sum of the weights: several modes, or hand tremor."""

    kind: Literal["modes"] = "modes"
    partials: tuple[Partial, ...] = Field(min_length=1)

    @property
    def frequency_hz(self) -> float:
        """Frequency of the strongest partial."""
        return max(self.partials, key=lambda partial: partial.weight).frequency_hz

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return max(partial.frequency_hz for partial in self.partials)

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        time_s = np.asarray(time_s, np.float64)
        total = sum(p.weight * np.sin(_TAU * p.frequency_hz * time_s + p.phase_rad) for p in self.partials)
        return total / sum(partial.weight for partial in self.partials)


class Damped(UnitWave):
    """A struck mode ringing down: `exp(-2 pi zeta f t) sin(2 pi f sqrt(1 - zeta^2) t + phase)`.

    `natural_frequency_hz` is f; the labelled `frequency_hz` is the damped one that a track shows.
    """

    kind: Literal["damped"] = "damped"
    natural_frequency_hz: PositiveFloat
    damping_ratio: float = Field(ge=0, lt=1)
    phase_rad: float = 0.0

    @property
    def frequency_hz(self) -> float:
        """Of the damped oscillation."""
        return self.natural_frequency_hz * float(np.sqrt(1 - self.damping_ratio**2))

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return self.frequency_hz

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        time_s = np.asarray(time_s, np.float64)
        decay = np.exp(-_TAU * self.damping_ratio * self.natural_frequency_hz * np.maximum(time_s, 0.0))
        return decay * np.sin(_TAU * self.frequency_hz * time_s + self.phase_rad)


class Chirp(UnitWave):
    """A sine whose frequency runs linearly from `start_hz` to `end_hz` in `duration_s`, then stays."""

    kind: Literal["chirp"] = "chirp"
    start_hz: PositiveFloat
    end_hz: PositiveFloat
    duration_s: PositiveFloat
    phase_rad: float = 0.0

    @property
    def frequency_hz(self) -> float:
        """Mean frequency of the sweep."""
        return (self.start_hz + self.end_hz) / 2

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return max(self.start_hz, self.end_hz)

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        time_s = np.asarray(time_s, np.float64)
        swept = np.clip(time_s, 0.0, self.duration_s)
        cycles = self.start_hz * swept + (self.end_hz - self.start_hz) * swept**2 / (2 * self.duration_s)
        cycles = cycles + self.start_hz * np.minimum(time_s, 0.0)
        cycles = cycles + self.end_hz * np.maximum(time_s - self.duration_s, 0.0)
        return np.sin(_TAU * cycles + self.phase_rad)


class Heartbeat(UnitWave):
    """A periodic systolic and a weaker dicrotic pulse, band-limited to five harmonics."""

    kind: Literal["heartbeat"] = "heartbeat"
    frequency_hz: PositiveFloat
    phase_rad: float = 0.0

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return _HEART_HARMONICS * self.frequency_hz

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        angle = _TAU * self.frequency_hz * np.asarray(time_s, np.float64) + self.phase_rad
        return _harmonic_sum(angle, _heart_coefficients()) / _peak("heart")


class Breathing(UnitWave):
    """A rounded rise and a slower fall: a fundamental and its second harmonic."""

    kind: Literal["breathing"] = "breathing"
    frequency_hz: PositiveFloat
    phase_rad: float = 0.0

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return 2 * self.frequency_hz

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        angle = _TAU * self.frequency_hz * np.asarray(time_s, np.float64) + self.phase_rad
        return _harmonic_sum(angle, _BREATH) / _peak("breath")


class Sway(UnitWave):
    """A building in the wind: two close modes of vibration that beat, the second `split` higher."""

    kind: Literal["sway"] = "sway"
    frequency_hz: PositiveFloat
    split: float = Field(0.12, gt=0, lt=1)
    second_weight: float = Field(0.5, gt=0, lt=1)
    phase_rad: float = 0.0

    @property
    @override
    def highest_frequency_hz(self) -> float:
        return self.frequency_hz * (1 + self.split)

    @override
    def value(self, time_s: np.ndarray) -> np.ndarray:
        angle = _TAU * self.frequency_hz * np.asarray(time_s, np.float64)
        first = np.sin(angle + self.phase_rad)
        second = np.sin((1 + self.split) * angle + 2.4 * self.phase_rad)
        return (first + self.second_weight * second) / (1 + self.second_weight)


Waveform = Annotated[Ramp | Sine | Modes | Damped | Chirp | Heartbeat | Breathing | Sway, Field(discriminator="kind")]

_BREATH = ((1.0, -np.pi / 2), (0.25, -np.pi / 2 + 0.6))


def _heart_coefficients() -> tuple[tuple[float, float], ...]:
    """Fourier coefficients of two Gaussian pulses a beat (width 0.08 beats; 0.4 high at 0.3 beats)."""
    orders = np.arange(1, _HEART_HARMONICS + 1)
    pulses = 1 + 0.4 * np.exp(-1j * _TAU * orders * 0.3)
    coefficients = np.exp(-2 * np.pi**2 * orders**2 * 0.08**2) * pulses
    return tuple((float(abs(c)), float(np.angle(c))) for c in coefficients)


def _harmonic_sum(angle: np.ndarray, coefficients) -> np.ndarray:
    return sum(size * np.cos(order * angle + phase) for order, (size, phase) in enumerate(coefficients, 1))


@cache
def _peak(name: str) -> float:
    """Largest magnitude over a period, so that the waveform's peak is 1 (to 1e-6)."""
    coefficients = _heart_coefficients() if name == "heart" else _BREATH
    return float(np.abs(_harmonic_sum(np.linspace(0, _TAU, 4097), coefficients)).max())
