"""Drawing layers: textures, outlines and motions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from limbeck.motion.curriculum import STILL, ClipSettings
from limbeck.motion.fields import steepest_px
from limbeck.motion.gain import STEEPEST
from limbeck.motion.motions import Beam, Membrane, Motion, Point, Rotation, Scaling, Swelling, Translation, Wave
from limbeck.motion.spec import Checks, Extent, Grating, Layer, Noise, Picture, Pulse, Shape, StorybookPage, Texture
from limbeck.motion.waveform_draws import draw_waveform, largest_value, log_uniform
from limbeck.motion.waveforms import Waveform

_TAU = 2 * math.pi


@dataclass(frozen=True)
class Material:
    """What a clip may be made of besides procedural textures.

    Attributes:
        background: hash of a picture, for the background.
        cutouts: hashes of cut-outs, for the objects, and where each shows (`limbeck.motion.cutouts.extent`): by that
            its motion is drawn, its gain and its labels.
        page: a storybook scene (JSON), for the background.
    """

    background: str | None = None
    cutouts: Mapping[str, Extent] = field(default_factory=dict)
    page: str | None = None


def draw_layers(
    rng: np.random.Generator, settings: ClipSettings, subset: str, scale_px: float, material: Material
) -> tuple[Layer, ...]:
    """Background and objects of a clip, from far to near."""
    width, height = settings.width_px, settings.height_px
    count = 0 if subset == "background_moves" else int(rng.integers(settings.objects[0], settings.objects[1] + 1))
    middle = ((width - 1) / 2, (height - 1) / 2)
    layers = []
    for index in range(count + 1):
        moves = subset not in STILL and not (index == 0 and subset == "static_background")
        centre = middle if index == 0 else (float(rng.uniform(0, width - 1)), float(rng.uniform(0, height - 1)))
        radius = math.hypot(*middle) if index == 0 else log_uniform(rng, settings.object_radius) * min(width, height)
        texture = _texture(rng, settings, subset, index, radius, material)
        procedural = texture.kind not in ("picture", "storybook")
        cut_out = texture.extent if isinstance(texture, Picture) else None
        about, reach = _around(cut_out, texture.scale, centre) if cut_out else (centre, radius)
        layers.append(
            Layer(
                texture=texture,
                shape=_shape(rng, radius) if index and procedural else None,
                centre_px=centre,
                motions=_motions(rng, settings, subset, about, reach, scale_px, gentle=bool(cut_out)) if moves else (),
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
        name = str(rng.choice(list(material.cutouts)))
        return Picture(sha256=name, scale=float(rng.uniform(0.5, 1.0)), extent=material.cutouts[name])
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


def _around(extent: Extent, scale: float, centre: Point) -> tuple[Point, float]:
    """Middle and radius, in px, of what shows of a cut-out whose own middle is at `centre`."""
    left, top, right, bottom = (side * scale for side in extent)
    return (centre[0] + (left + right) / 2, centre[1] + (top + bottom) / 2), max(right - left, bottom - top) / 2


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


def _tile_px(least: float) -> int:
    """A size that Fourier transforms like: a power of two, or three quarters of one."""
    power = 1 << max(5, math.ceil(math.log2(least)))
    return power * 3 // 4 if power * 3 // 4 >= least else power


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
    rng: np.random.Generator, settings: ClipSettings, subset: str, centre, radius: float, scale_px: float, gentle: bool
) -> tuple[Motion, ...]:
    """How a layer moves.

    Args:
        centre, radius: of what moves.
        gentle: turns and grows no more than twice could be shown: for cut-outs, which may be far smaller than the
            shapes that `settings.amplitude_px` was chosen for.
    """
    waveform = draw_waveform(rng, settings)
    largest = largest_value(settings, waveform)
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
    if gentle:
        most = STEEPEST if turning is Rotation else math.log1p(STEEPEST)
        amplitude = min(amplitude, 0.5 * most * 1.5 * radius / max(largest, 1e-6))
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


def _pulse(rng: np.random.Generator, settings: ClipSettings) -> Pulse:
    rgb = rng.uniform(0.2, 1.0, 3)
    rgb = rgb / rgb.max()
    return Pulse(
        amplitude=log_uniform(rng, settings.pulse_amplitude),
        rgb=tuple(map(float, rgb)),
        waveform=draw_waveform(rng, settings),
    )
