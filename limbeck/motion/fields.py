"""Unit displacement fields of the elastic motions, with their Jacobians.

Convention:
    `field(motion, x, y)` takes coordinates of one shape, in rest pixels, and returns
    `(ex, ey), ((exx, exy), (eyx, eyy))`, where exy is the derivative of ex along y. The largest
    displacement is 1 px. Entries that are zero everywhere are the number 0.0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limbeck.motion.motions import Beam, ElasticMotion, Membrane, Swelling, Wave

Vector = tuple[Tensor | float, Tensor | float]
Jacobian = tuple[Vector, Vector]

_BETA = {1: 1.8751040687119611, 2: 4.694091132974175, 3: 7.854757438237613}


def field(motion: ElasticMotion, x: Tensor, y: Tensor) -> tuple[Vector, Jacobian]:
    """Displacement and Jacobian of one elastic motion at waveform value 1 and amplitude 1 px."""
    return _FIELDS[motion.kind](motion, x, y)


def steepest_px(motion: ElasticMotion) -> float:
    """Upper bound of the field's gradient norm, per pixel, at amplitude 1 px.

    A gain is safe from folding as long as gain * amplitude * steepest stays below 1.
    """
    match motion:
        case Wave():
            return 2 * math.pi / motion.wavelength_px
        case Beam():
            return 2.8 * _BETA[motion.mode] / 2 / motion.length_px
        case Membrane():
            return math.pi * math.hypot(motion.orders[0] / motion.size_px[0], motion.orders[1] / motion.size_px[1])
        case Swelling():
            return math.exp(0.5) / motion.radius_px
    raise TypeError(f"{motion!r} is no elastic motion")


def _wave(motion: Wave, x: Tensor, y: Tensor) -> tuple[Vector, Jacobian]:
    wavenumber = 2 * math.pi / motion.wavelength_px
    kx, ky = wavenumber * math.cos(motion.across_rad), wavenumber * math.sin(motion.across_rad)
    angle = kx * x + ky * y + motion.phase_rad
    profile, slope = torch.cos(angle), -torch.sin(angle)
    return _along(motion.direction_rad, profile, kx * slope, ky * slope)


def _beam(motion: Beam, x: Tensor, y: Tensor) -> tuple[Vector, Jacobian]:
    ax, ay = math.cos(motion.axis_rad), math.sin(motion.axis_rad)
    along = ((x - motion.base_px[0]) * ax + (y - motion.base_px[1]) * ay) / motion.length_px
    inside = along.clamp(0.0, 1.0)
    beta = _BETA[motion.mode]
    z = beta * inside
    ratio = (math.cosh(beta) + math.cos(beta)) / (math.sinh(beta) + math.sin(beta))
    tip = math.cosh(beta) - math.cos(beta) - ratio * (math.sinh(beta) - math.sin(beta))
    profile = (torch.cosh(z) - torch.cos(z) - ratio * (torch.sinh(z) - torch.sin(z))) / tip
    slope = beta * (torch.sinh(z) + torch.sin(z) - ratio * (torch.cosh(z) - torch.cos(z))) / tip
    profile = profile + slope * (along - 1.0).clamp_min(0.0)
    slope = slope / motion.length_px
    return _along(motion.axis_rad + math.pi / 2, profile, ax * slope, ay * slope)


def _membrane(motion: Membrane, x: Tensor, y: Tensor) -> tuple[Vector, Jacobian]:
    ku = motion.orders[0] * math.pi / motion.size_px[0]
    kv = motion.orders[1] * math.pi / motion.size_px[1]
    u = ku * (x - motion.corner_px[0]).clamp(0.0, motion.size_px[0])
    v = kv * (y - motion.corner_px[1]).clamp(0.0, motion.size_px[1])
    inside = ((x - motion.corner_px[0] - motion.size_px[0] / 2).abs() < motion.size_px[0] / 2) & (
        (y - motion.corner_px[1] - motion.size_px[1] / 2).abs() < motion.size_px[1] / 2
    )
    sin_u, sin_v = torch.sin(u), torch.sin(v)
    mask = inside.to(x.dtype)
    return _along(
        motion.direction_rad,
        mask * sin_u * sin_v,
        mask * ku * torch.cos(u) * sin_v,
        mask * kv * sin_u * torch.cos(v),
    )


def _swelling(motion: Swelling, x: Tensor, y: Tensor) -> tuple[Vector, Jacobian]:
    dx, dy = (x - motion.centre_px[0]) / motion.radius_px, (y - motion.centre_px[1]) / motion.radius_px
    bell = torch.exp(0.5 - 0.5 * (dx * dx + dy * dy))
    per_px = bell / motion.radius_px
    return (dx * bell, dy * bell), (
        (per_px * (1 - dx * dx), -per_px * dx * dy),
        (-per_px * dx * dy, per_px * (1 - dy * dy)),
    )


def _along(direction_rad: float, profile: Tensor, slope_x: Tensor, slope_y: Tensor) -> tuple[Vector, Jacobian]:
    """A scalar profile that displaces along one direction."""
    ux, uy = math.cos(direction_rad), math.sin(direction_rad)
    return (ux * profile, uy * profile), ((ux * slope_x, ux * slope_y), (uy * slope_x, uy * slope_y))


_FIELDS = {"wave": _wave, "beam": _beam, "membrane": _membrane, "swelling": _swelling}
