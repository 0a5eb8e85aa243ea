"""How a layer moves: each component is a displacement field in space times a waveform in time.

`amplitude_px` is the largest displacement of any point of the layer when the waveform is at 1
(for rotation and scaling: to first order, at `radius_px` from the pivot).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from limbeck.motion.frozen import Spec
from limbeck.motion.waveforms import Waveform

Point = tuple[float, float]


class Translation(Spec):
    """Every point by the same vector; `direction_rad` 0 is to the right, pi / 2 is down."""

    kind: Literal["translation"] = "translation"
    amplitude_px: NonNegativeFloat
    direction_rad: float
    waveform: Waveform


class Rotation(Spec):
    """By `amplitude_px / radius_px` radians about `pivot_px`, from x towards y (clockwise on screen)."""

    kind: Literal["rotation"] = "rotation"
    amplitude_px: NonNegativeFloat
    pivot_px: Point
    radius_px: PositiveFloat
    waveform: Waveform


class Scaling(Spec):
    """By `exp(amplitude_px / radius_px)` about `pivot_px`."""

    kind: Literal["scaling"] = "scaling"
    amplitude_px: NonNegativeFloat
    pivot_px: Point
    radius_px: PositiveFloat
    waveform: Waveform


class Wave(Spec):
    """Elastic: along `direction_rad`, as a cosine of `wavelength_px` that runs along `across_rad`."""

    kind: Literal["wave"] = "wave"
    amplitude_px: NonNegativeFloat
    direction_rad: float
    across_rad: float
    wavelength_px: PositiveFloat
    phase_rad: float = 0.0
    waveform: Waveform


class Beam(Spec):
    """A bending mode of a beam clamped at `base_px` and free at its tip: a swaying tower, a blade.

    The beam points along `axis_rad` (up is -pi / 2) and bends at right angles to it. The tip moves
    by `amplitude_px`; points behind the base rest, points beyond the tip go on along the tangent.

    Source: Euler-Bernoulli theory, clamped-free modes, beta L = 1.8751, 4.6941, 7.8548.
    """

    kind: Literal["beam"] = "beam"
    amplitude_px: NonNegativeFloat
    base_px: Point
    axis_rad: float
    length_px: PositiveFloat
    mode: Literal[1, 2, 3] = 1
    waveform: Waveform


class Membrane(Spec):
    """In-plane standing wave `sin(m pi u) sin(n pi v)` on a box, at rest on its edges and outside."""

    kind: Literal["membrane"] = "membrane"
    amplitude_px: NonNegativeFloat
    direction_rad: float
    corner_px: Point
    size_px: tuple[PositiveFloat, PositiveFloat]
    orders: tuple[Literal[1, 2, 3], Literal[1, 2, 3]] = (1, 1)
    waveform: Waveform


class Swelling(Spec):
    """Outward from `centre_px`, largest at `radius_px`, fading as a Gaussian: a breathing chest."""

    kind: Literal["swelling"] = "swelling"
    amplitude_px: NonNegativeFloat
    centre_px: Point
    radius_px: PositiveFloat
    waveform: Waveform


AffineMotion = Translation | Rotation | Scaling
ElasticMotion = Wave | Beam | Membrane | Swelling
Motion = Annotated[AffineMotion | ElasticMotion, Field(discriminator="kind")]
AFFINE_KINDS = ("translation", "rotation", "scaling")
