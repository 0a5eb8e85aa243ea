"""Drawing clips: settings, a subset and a seed -> a `ClipSpec`.

A clip has one scale of motion, log-uniform; its layers move by a quarter of it up to all of it, each
its own way. Gains come last, drawn within what the motion allows (see `gain.draw_gain`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.fields import steepest_px
from limbeck.motion.gain import STEEPEST, draw_gain
from limbeck.motion.motions import Beam, Membrane, Motion, Rotation, Scaling, Swelling, Translation, Wave
from limbeck.motion.pose import since_rest
from limbeck.motion.spec import (
    Checks,
    ClipSpec,
    Gain,
    Grating,
    Layer,
    Noise,
    Picture,
    Pulse,
    Sensor,
    Shape,
    StorybookPage,
    Texture,
)
from limbeck.motion.waveforms import (
    Breathing,
    Chirp,
    Damped,
    Heartbeat,
    Modes,
    Partial,
    Ramp,
    Sine,
    Sway,
    Waveform,
)
from limbeck.seeds import rng as seeded

_TAU = 2 * math.pi
_STILL = ("static", "pulse", "noise_only", "flicker_only")


@dataclass(frozen=True)
class Material:
    """What a clip may be made of besides procedural textures.

    Attributes:
        background: hash of a picture, for the background.
        cutouts: hashes of cut-outs, for the objects.
        page: a storybook scene (JSON), for the background.
    """

    background: str | None = None
    cutouts: tuple[str, ...] = ()
    page: str | None = None


def draw_clip(settings: ClipSettings, subset: str, seed: int, material: Material = Material()) -> ClipSpec:
    """The clip of a subset that belongs to a seed; the same on every machine."""
    rng = seeded(seed, "motion.clip", subset)
    width, height = settings.width_px, settings.height_px
    scale_px = _log_uniform(rng, settings.amplitude_px)
    clip = ClipSpec(
        width_px=width,
        height_px=height,
        frames=settings.frames,
        fps=settings.fps,
        layers=_layers(rng, settings, subset, scale_px, material),
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


def _layers(
    rng: np.random.Generator, settings: ClipSettings, subset: str, scale_px: float, material: Material
) -> tuple[Layer, ...]:
    width, height = settings.width_px, settings.height_px
    count = 0 if subset == "background_moves" else int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    middle = ((width - 1) / 2, (height - 1) / 2)
    layers = []
    for index in range(count + 1):
        moves = subset not in _STILL and not (index == 0 and subset == "static_background")
        centre = middle if index == 0 else (float(rng.uniform(0, width - 1)), float(rng.uniform(0, height - 1)))
        radius = math.hypot(*middle) if index == 0 else _log_uniform(rng, settings.object_radius) * min(width, height)
        texture = _texture(rng, settings, subset, index, radius, material)
        procedural = texture.kind not in ("picture", "storybook")
        layers.append(
            Layer(
                texture=texture,
                shape=_shape(rng, radius) if index and procedural else None,
                centre_px=centre,
                motions=_motions(rng, settings, subset, centre, radius, scale_px) if moves else (),
                pulse=_pulse(rng, settings) if subset == "pulse" else None,
            )
        )
    return tuple(layers)


def _texture(
    rng: np.random.Generator, settings: ClipSettings, subset: str, index: int, radius: float, material: Material
) -> Texture:
    blurred = index == 0 and subset == "blurred_background"
    blur = float(rng.uniform(2, 6)) if blurred else 0.0
    if index == 0 and material.background:
        return Picture(sha256=material.background, blur_px=blur)
    if index > 0 and material.cutouts:
        return Picture(sha256=str(rng.choice(material.cutouts)), scale=float(rng.uniform(0.5, 1.0)))
    if settings.textures == "storybook" or (index == 0 and material.page):
        return _page(rng, settings, index, radius, blur, material)
    colour = tuple(float(c) for c in rng.uniform(0.25, 0.7, 3))
    contrast = float(rng.uniform(0.2, 0.42))  # 0.7 * 1.42 < 1
    kind = "noise" if blurred else str(rng.choice(["noise", "checks", "grating"], p=[0.8, 0.1, 0.1]))
    if kind == "noise":
        return Noise(
            seed=int(rng.integers(settings.texture_bank)),
            tile_px=_tile_px(2 * radius if index else max(settings.width_px, settings.height_px) + 64),
            slope=float(rng.uniform(0.6, 1.8)),
            finest_px=float(rng.uniform(12, 30)) if blurred else float(rng.uniform(2.5, 6)),
            contrast=contrast * 0.4 if blurred else contrast,
            colour=colour,
        )
    angle = float(rng.uniform(0, _TAU))
    if kind == "checks":
        return Checks(
            square_px=float(rng.uniform(4, 4 + radius / 3)), angle_rad=angle, contrast=contrast, colour=colour
        )
    period = float(rng.uniform(4, 8 + radius / 3))
    return Grating(
        period_px=period, angle_rad=angle, phase_rad=float(rng.uniform(0, _TAU)), contrast=contrast, colour=colour
    )


def _page(
    rng: np.random.Generator, settings: ClipSettings, index: int, radius: float, blur: float, material: Material
) -> StorybookPage:
    """A whole page behind everything, or a thing of another page, about `radius` tall."""
    from limbeck.storybook import sample_scene

    if index == 0:
        side = (
            max(settings.width_px, settings.height_px) + 2 * math.ceil(settings.bound_px + 3 * settings.shake_px[1]) + 8
        )
        scene = material.page or sample_scene(rng).to_json()
        return StorybookPage(scene=scene, side_px=side, blur_px=blur)
    return StorybookPage(scene=sample_scene(rng, things=1).to_json(), thing=0, side_px=max(16, round(4 * radius)))


def _shape(rng: np.random.Generator, radius: float) -> Shape:
    lobes = tuple(
        (order, float(rng.uniform(-0.22, 0.22)) / order**0.5, float(rng.uniform(0, _TAU))) for order in (2, 3, 5)
    )
    return Shape(
        radius_px=radius,
        aspect=math.exp(rng.uniform(-0.5, 0.5)),
        angle_rad=float(rng.uniform(0, _TAU)),
        lobes=lobes,
        edge_px=float(rng.uniform(0.6, 1.0)),
    )


def _motions(
    rng: np.random.Generator, settings: ClipSettings, subset: str, centre, radius: float, scale_px: float
) -> tuple[Motion, ...]:
    waveform = draw_waveform(rng, settings)
    largest = _largest(settings, waveform)
    low, high = settings.amplitude_px
    share = scale_px * math.exp(rng.uniform(math.log(0.25), 0))
    amplitude = float(np.clip(share, low, high)) / max(1.0, largest)
    if subset == "deformation":
        motion = _elastic(rng, centre, radius, amplitude, waveform)
        most = 0.5 * STEEPEST / steepest_px(motion) / max(largest, 1e-6)
        return (motion.model_copy(update={"amplitude_px": min(motion.amplitude_px, most)}),)
    kind = rng.choice(["translation", "rotation", "scaling"], p=[0.76, 0.12, 0.12])
    if kind == "translation":
        return (Translation(amplitude_px=amplitude, direction_rad=float(rng.uniform(0, _TAU)), waveform=waveform),)
    turning = Rotation if kind == "rotation" else Scaling
    return (turning(amplitude_px=amplitude, pivot_px=centre, radius_px=1.5 * radius, waveform=waveform),)


def _elastic(rng: np.random.Generator, centre, radius: float, amplitude: float, waveform: Waveform) -> Motion:
    kind = rng.choice(["wave", "beam", "membrane", "swelling"])
    direction = float(rng.uniform(0, _TAU))
    if kind == "wave":
        return Wave(
            amplitude_px=amplitude, direction_rad=direction, across_rad=float(rng.uniform(0, _TAU)),
            wavelength_px=radius * float(rng.uniform(1.5, 4)), phase_rad=float(rng.uniform(0, _TAU)), waveform=waveform,
        )  # fmt: skip
    if kind == "beam":
        return Beam(
            amplitude_px=amplitude, base_px=(centre[0], centre[1] + 1.3 * radius), axis_rad=-math.pi / 2,
            length_px=2.6 * radius, mode=int(rng.integers(1, 3)), waveform=waveform,
        )  # fmt: skip
    if kind == "membrane":
        corner = (centre[0] - 1.2 * radius, centre[1] - 1.2 * radius)
        orders = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        return Membrane(
            amplitude_px=amplitude, direction_rad=direction, corner_px=corner,
            size_px=(2.4 * radius, 2.4 * radius), orders=orders, waveform=waveform,
        )  # fmt: skip
    return Swelling(amplitude_px=amplitude, centre_px=centre, radius_px=0.8 * radius, waveform=waveform)


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
    frequency = _log_uniform(rng, (min(lowest, highest), highest / headroom))
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
            end = _log_uniform(rng, (min(lowest, highest), highest))
            return Chirp(start_hz=frequency, end_hz=end, duration_s=duration, phase_rad=phase)
        case "heartbeat":
            return Heartbeat(frequency_hz=frequency, phase_rad=phase)
        case "breathing":
            return Breathing(frequency_hz=frequency, phase_rad=phase)
        case "sway":
            return Sway(frequency_hz=frequency, phase_rad=phase)
    return Sine(frequency_hz=frequency, phase_rad=phase)


def _largest(settings: ClipSettings, waveform: Waveform) -> float:
    """Largest value, counted from rest, at any frame."""
    times = np.arange(settings.frames) * settings.fps[1] / settings.fps[0]
    return float(np.abs(since_rest(waveform, times)).max())


def _pulse(rng: np.random.Generator, settings: ClipSettings) -> Pulse:
    rgb = rng.uniform(0.2, 1.0, 3)
    rgb = rgb / rgb.max()
    return Pulse(
        amplitude=_log_uniform(rng, settings.pulse_amplitude),
        rgb=tuple(map(float, rgb)),
        waveform=draw_waveform(rng, settings),
    )


def _shake(rng: np.random.Generator, settings: ClipSettings) -> tuple[Motion, ...]:
    centre = ((settings.width_px - 1) / 2, (settings.height_px - 1) / 2)
    size = _log_uniform(rng, settings.shake_px)
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
    shot, read = _log_uniform(rng, settings.shot), _log_uniform(rng, settings.read)
    exposed, rolling = rng.random() < settings.exposure_share, rng.random() < settings.rolling_share
    frame_s = settings.fps[1] / settings.fps[0]
    flickers = subset == "flicker_only"
    return Sensor(
        shot=shot * strength if noisy else 0.0,
        read=read * math.sqrt(strength) if noisy else 0.0,
        exposure_s=float(rng.uniform(0.1, 0.9)) * frame_s if exposed else 0.0,
        readout_s=float(rng.uniform(0.2, 0.9)) * frame_s if rolling else 0.0,
        drift=draw_waveform(rng, settings) if flickers else None,
        drift_amplitude=_log_uniform(rng, settings.flicker) if flickers else 0.0,
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
    kind = rng.choice(["axis", "layers"])
    if kind == "axis":
        x = float(rng.integers(2))
        return Gain(gain_total=1.0, rule="displacement", x=x, y=1 - x)
    chosen: Sequence[float] = tuple(float(value) for value in rng.integers(0, 2, len(clip.layers)))
    return Gain(gain_total=1.0, layers=tuple(chosen))


def _tile_px(least: float) -> int:
    """A size that Fourier transforms like: a power of two, or three quarters of one."""
    power = 1 << max(5, math.ceil(math.log2(least)))
    return power * 3 // 4 if power * 3 // 4 >= least else power


def _log_uniform(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return math.exp(rng.uniform(math.log(limits[0]), math.log(limits[1])))
