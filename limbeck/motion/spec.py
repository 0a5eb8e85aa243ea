"""What a clip is: the numbers from which every frame and every label regenerates.

`ClipSpec.model_dump_json()` is the clip's truth; `ClipSpec.model_validate_json(...)` gives it back.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from limbeck.motion.frozen import Spec
from limbeck.motion.motions import Motion, Point
from limbeck.motion.waveforms import Waveform

Colour = tuple[float, float, float]
Extent = tuple[float, float, float, float]
"""Left, top, right, bottom, counted from a middle."""


class Noise(Spec):
    """Random field with a power spectrum ~ 1 / f^(2 slope), no period shorter than `finest_px`.

    It repeats after `tile_px` in both directions, so that what it shows does not depend on how far
    the scene moves.
    """

    kind: Literal["noise"] = "noise"
    seed: int = Field(ge=0)
    tile_px: int = Field(256, ge=16, le=8192)
    slope: NonNegativeFloat = 1.0
    finest_px: float = Field(3.0, ge=2.0)
    contrast: float = Field(0.5, ge=0, le=1)
    colour: Colour = (0.5, 0.5, 0.5)


class Grating(Spec):
    """A cosine of `period_px` whose phase grows along `angle_rad`; mean `colour`, peak contrast."""

    kind: Literal["grating"] = "grating"
    period_px: float = Field(ge=2.0)
    angle_rad: float = 0.0
    phase_rad: float = 0.0
    contrast: float = Field(0.5, ge=0, le=1)
    colour: Colour = (0.5, 0.5, 0.5)


class Checks(Spec):
    """A checkerboard of squares of `square_px` with edges softened over about one pixel."""

    kind: Literal["checks"] = "checks"
    square_px: float = Field(ge=4.0)
    angle_rad: float = 0.0
    contrast: float = Field(0.5, ge=0, le=1)
    colour: Colour = (0.5, 0.5, 0.5)


class Plain(Spec):
    """One colour."""

    kind: Literal["plain"] = "plain"
    colour: Colour = (0.5, 0.5, 0.5)


class Picture(Spec):
    """The user's own picture or cut-out, or a storybook one, named by the hash of its bytes.

    `scale` is output pixels per picture pixel; below 1 the picture gives detail finer than the
    frame. An object that is a picture without a `shape` has to be a cut-out (have alpha).
    `extent` is where such a cut-out shows, in picture pixels (`cutouts.extent`); without it, as in
    clips that `motion_clips` 2 stored, labels and bounds take the whole frame to move along.
    """

    kind: Literal["picture"] = "picture"
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scale: float = Field(1.0, gt=0, le=8)
    blur_px: NonNegativeFloat = 0.0
    extent: Extent | None = Field(None, exclude_if=lambda extent: extent is None)

    @model_validator(mode="after")
    def _has_a_size(self) -> Self:
        if self.extent and not (self.extent[0] < self.extent[2] and self.extent[1] < self.extent[3]):
            raise ValueError(f"extent = {self.extent}: expected left < right and top < bottom")
        return self


class StorybookPage(Spec):
    """A storybook scene, or one of its things cut out: `side_px` is the side of the whole square page."""

    kind: Literal["storybook"] = "storybook"
    scene: str
    thing: int | None = Field(None, ge=0)
    side_px: PositiveInt
    blur_px: NonNegativeFloat = 0.0


Texture = Annotated[Noise | Grating | Checks | Plain | Picture | StorybookPage, Field(discriminator="kind")]


class Shape(Spec):
    """A procedural outline: radius as a function of angle, edge softened by a Gaussian.

    `lobes` are (order, relative height, phase) of a cosine series on the radius; none is a disc.
    `aspect` stretches along x and shrinks along y before `angle_rad` turns it.
    """

    radius_px: PositiveFloat
    aspect: float = Field(1.0, gt=0.2, lt=5)
    angle_rad: float = 0.0
    lobes: tuple[tuple[PositiveInt, float, float], ...] = ()
    edge_px: float = Field(0.7, ge=0.4)


class Pulse(Spec):
    """A subtle change of colour: the layer's RGB is multiplied by `1 + amplitude * rgb * waveform`."""

    amplitude: float = Field(ge=0, le=0.5)
    rgb: Colour = (0.3, 1.0, 0.5)
    waveform: Waveform


class Layer(Spec):
    """One thing in the scene. The background has no shape and fills the frame."""

    texture: Texture
    shape: Shape | None = None
    centre_px: Point = (0.0, 0.0)
    motions: tuple[Motion, ...] = ()
    pulse: Pulse | None = None


class Window(Spec):
    """Where a gain map magnifies: 1 at `centre_px`, falling off as a Gaussian of `sigma_px`."""

    centre_px: Point
    sigma_px: PositiveFloat


class Gain(Spec):
    """One magnification of the clip.

    The extra motion `gain_total - 1` is multiplied by `x` and `y` (a gain map by axis), by
    `layers[k]` (by layer) and by `window` (by rest position). All default to 1: uniform.
    A map that is not uniform in x and y needs `rule = "displacement"`.
    """

    gain_total: PositiveFloat
    rule: Literal["parameters", "displacement"] = "parameters"
    x: float = Field(1.0, ge=0, le=1)
    y: float = Field(1.0, ge=0, le=1)
    layers: tuple[Annotated[float, Field(ge=0, le=1)], ...] = ()
    window: Window | None = None

    def of_layer(self, index: int) -> float:
        """Total gain of a layer before the axis factors and the window."""
        return 1 + (self.gain_total - 1) * (self.layers[index] if self.layers else 1.0)

    @model_validator(mode="after")
    def _map_needs_displacement(self) -> Self:
        if self.rule == "parameters" and (self.x != 1 or self.y != 1 or self.window):
            raise ValueError("a gain map in x, y or space needs rule = 'displacement'")
        return self


class Sensor(Spec):
    """How the input frames are recorded. Targets and truth know nothing of it.

    Brightness v in [0, 1] is recorded with variance `shot * v + read**2` (in units of v), so the
    photon-transfer slope is `shot`; a full well of N electrons has shot = 1 / N.

    Attributes:
        exposure_s: shutter time, centred on the frame's time; 0 is an instantaneous shutter.
        exposure_samples: instants averaged over the shutter time.
        readout_s: time from the first row's exposure to the last one's; the middle row is on time.
        drift: brightness of frame t is multiplied by `1 + drift_amplitude * waveform(t)`.
        dither: add uniform noise of one step before rounding to 8 bits, else round to nearest.
    """

    shot: NonNegativeFloat = 0.0
    read: NonNegativeFloat = 0.0
    poisson: bool = False
    exposure_s: NonNegativeFloat = 0.0
    exposure_samples: PositiveInt = 5
    readout_s: NonNegativeFloat = 0.0
    drift: Waveform | None = None
    drift_amplitude: float = Field(0.0, ge=0, lt=1)
    dither: bool = True
    seed: int = Field(0, ge=0)


class ClipSpec(Spec):
    """A whole clip.

    Attributes:
        fps: frames a second as a rational (numerator, denominator).
        layers: from far to near; layer 0 is the background.
        gains: one magnified clip each.
        shake: camera motion, applied to all layers of the input; the targets keep still.
        perturbation: factor and offset by which the colours of all frames but the first, and of
            their targets, are changed (Oh et al.'s colour perturbation).
        oversampling: texels per output pixel of every layer.
        allow_aliasing: else a waveform above half the frame rate is an error.
        bound_px: largest displacement that a magnified frame may show.
    """

    width_px: PositiveInt
    height_px: PositiveInt
    frames: PositiveInt
    fps: tuple[PositiveInt, PositiveInt] = (30, 1)
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=16)
    gains: tuple[Gain, ...] = ()
    shake: tuple[Motion, ...] = ()
    sensor: Sensor = Sensor()
    perturbation: tuple[Colour, Colour] = ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    oversampling: int = Field(2, ge=1, le=8)
    bound_px: PositiveFloat = 30.0
    allow_aliasing: bool = False
    subset: str = "ordinary"
    seed: int = Field(0, ge=0)

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(*self.fps)

    @property
    def duration_s(self) -> float:
        """Time of the last frame."""
        return float((self.frames - 1) / self.frame_rate)

    @property
    def waveforms(self) -> tuple[Waveform, ...]:
        """Every waveform that moves or colours something in the scene."""
        return tuple(
            [motion.waveform for layer in self.layers for motion in layer.motions]
            + [layer.pulse.waveform for layer in self.layers if layer.pulse]
            + [motion.waveform for motion in self.shake]
        )

    @property
    def aliased(self) -> bool:
        """Whether anything vibrates faster than half the frame rate."""
        nyquist_hz = float(self.frame_rate) / 2
        return any(waveform.highest_frequency_hz > nyquist_hz for waveform in self.waveforms)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.aliased and not self.allow_aliasing:
            highest = max(waveform.highest_frequency_hz for waveform in self.waveforms)
            raise ValueError(
                f"a waveform holds {highest:g} Hz, above half the frame rate ({float(self.frame_rate) / 2:g} Hz): "
                "lower it, raise fps, or set allow_aliasing = true to have the clip flagged instead"
            )
        if self.layers[0].shape is not None:
            raise ValueError("layer 0 is the background and takes no shape")
        for index, layer in enumerate(self.layers[1:], 1):
            if layer.shape is None and layer.texture.kind not in ("picture", "storybook"):
                raise ValueError(f"layer {index} needs a shape, or a cut-out picture with alpha")
        for gain in self.gains:
            if gain.layers and len(gain.layers) != len(self.layers):
                raise ValueError(f"a gain map names {len(gain.layers)} layers, the clip has {len(self.layers)}")
        if any(motion.kind not in ("translation", "rotation", "scaling") for motion in self.shake):
            raise ValueError("camera shake takes translation, rotation and scaling only")
        return self
