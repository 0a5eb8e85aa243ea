"""Drawing clips: settings, a subset and a seed -> a `ClipSpec`.

A clip has one scale of motion, log-uniform; its layers move by a quarter of it up to all of it, each
its own way. Gains come last, drawn within what the motion allows (see `gain.draw_gain`).
"""

from __future__ import annotations

import math

import numpy as np

from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.gain import draw_gain
from limbeck.motion.layer_draws import Material, draw_layers
from limbeck.motion.motions import Motion, Rotation, Translation
from limbeck.motion.spec import ClipSpec, Gain, Sensor, Window
from limbeck.motion.waveform_draws import draw_waveform, log_uniform
from limbeck.seeds import rng as seeded

_TAU = 2 * math.pi


def draw_clip(settings: ClipSettings, subset: str, seed: int, material: Material | None = None) -> ClipSpec:
    """The clip of a subset that belongs to a seed; the same on every machine."""
    rng = seeded(seed, "motion.clip", subset)
    width, height = settings.width_px, settings.height_px
    scale_px = log_uniform(rng, settings.amplitude_px)
    clip = ClipSpec(
        width_px=width,
        height_px=height,
        frames=settings.frames,
        fps=settings.fps,
        layers=draw_layers(rng, settings, subset, scale_px, material or Material()),
        shake=_shake(rng, settings) if subset == "shake" else (),
        sensor=_sensor(rng, settings, subset),
        perturbation=_perturbation(rng, settings.colour_perturbation),
        oversampling=settings.oversampling,
        bound_px=settings.bound_px,
        subset=subset,
        seed=seed,
    )
    least, ceiling = settings.gain
    gains = [draw_gain(rng, clip, least, ceiling, _gain_map(rng, settings, clip)) for _ in range(settings.gains)]
    return clip.model_copy(update={"gains": tuple(gains)})


def _shake(rng: np.random.Generator, settings: ClipSettings) -> tuple[Motion, ...]:
    centre = ((settings.width_px - 1) / 2, (settings.height_px - 1) / 2)
    size = log_uniform(rng, settings.shake_px)
    return (
        Translation(
            amplitude_px=size, direction_rad=float(rng.uniform(0, _TAU)), waveform=draw_waveform(rng, settings)
        ),
        Translation(
            amplitude_px=size, direction_rad=float(rng.uniform(0, _TAU)), waveform=draw_waveform(rng, settings)
        ),
        Rotation(
            amplitude_px=size / 3, pivot_px=centre, radius_px=math.hypot(*centre), waveform=draw_waveform(rng, settings)
        ),
    )


def _sensor(rng: np.random.Generator, settings: ClipSettings, subset: str) -> Sensor:
    strength = settings.strong_noise if subset == "noise_only" else 1.0
    noisy = rng.random() < settings.noise_share or subset == "noise_only"
    shot, read = log_uniform(rng, settings.shot), log_uniform(rng, settings.read)
    exposed, rolling = rng.random() < settings.exposure_share, rng.random() < settings.rolling_share
    frame_s = settings.fps[1] / settings.fps[0]
    flickers = subset == "flicker_only"
    return Sensor(
        shot=shot * strength if noisy else 0.0,
        read=read * math.sqrt(strength) if noisy else 0.0,
        exposure_s=float(rng.uniform(0.1, 0.9)) * frame_s if exposed else 0.0,
        readout_s=float(rng.uniform(0.2, 0.9)) * frame_s if rolling else 0.0,
        drift=draw_waveform(rng, settings) if flickers else None,
        drift_amplitude=log_uniform(rng, settings.flicker) if flickers else 0.0,
        dither=settings.dither,
        seed=int(rng.integers(1 << 62)),
    )


def _perturbation(rng: np.random.Generator, size: float):
    if size == 0:
        return (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    factor, offset = rng.uniform(1 - size, 1.0, 3), rng.uniform(0, size / 4, 3)
    return tuple(map(float, factor)), tuple(map(float, offset))


def _gain_map(rng: np.random.Generator, settings: ClipSettings, clip: ClipSpec) -> Gain | None:
    if rng.random() >= settings.gain_map_share:
        return None
    kind = rng.choice(["axis", "layers", "region"])
    if kind == "axis":
        x = float(rng.integers(2))
        return Gain(gain_total=1.0, rule="displacement", x=x, y=1 - x)
    if kind == "region":
        side = min(settings.width_px, settings.height_px)
        centre = (float(rng.uniform(0, settings.width_px - 1)), float(rng.uniform(0, settings.height_px - 1)))
        window = Window(centre_px=centre, sigma_px=float(rng.uniform(0.15, 0.5)) * side)
        return Gain(gain_total=1.0, rule="displacement", window=window)
    chosen = tuple(float(value) for value in rng.integers(0, 2, len(clip.layers)))
    return Gain(gain_total=1.0, layers=tuple(chosen))
