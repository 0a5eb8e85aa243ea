"""What is drawn: the subsets of the curriculum and the ranges of everything in a clip.

Source: the first five subsets are those of Oh et al., "Learning-based video motion magnification",
2018, section 4; the others answer failures that their users report.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from limbeck.motion.frozen import Spec

Subset = Literal[
    "ordinary",
    "blurred_background",
    "background_moves",
    "static",
    "static_background",
    "shake",
    "deformation",
    "pulse",
    "noise_only",
    "flicker_only",
]

SUBSETS: dict[str, str] = {
    "ordinary": "background and every object move, each its own way",
    "blurred_background": "the background has little contrast and no fine detail",
    "background_moves": "nothing but the background, moving: one large object",
    "static": "nothing moves: the target equals the input",
    "static_background": "objects move on a background at rest",
    "shake": "ordinary, filmed by a trembling hand; the targets keep still",
    "deformation": "things bend, ripple and swell",
    "pulse": "nothing moves, colours change subtly",
    "noise_only": "hard negative: at rest, in strong noise",
    "flicker_only": "hard negative: at rest, under flickering light",
}

STILL = ("static", "pulse", "noise_only", "flicker_only")
"""Subsets in which nothing moves."""

WAVEFORMS = ("sine", "modes", "damped", "chirp", "heartbeat", "breathing", "sway")


def _at_least_one(values: tuple) -> tuple:
    if not values:
        raise ValueError("an empty list; name at least one")
    return values


AtLeastOne = AfterValidator(_at_least_one)
"""Of a list: refuses an empty one, after its items were looked at (`min_length` counts a wrong item as none)."""
Range = tuple[float, float]
_RANGES = (
    "objects", "object_radius", "amplitude_px", "gain", "pulse_amplitude", "shake_px", "shot", "read", "flicker",
)  # fmt: skip


class ClipSettings(Spec):
    """Ranges from which clips are drawn. Pairs are (lowest, highest).

    Attributes:
        width_px: of the frames.
        height_px: of the frames.
        frames: 2 gives Oh et al.'s pair, displaced once; more give waveforms in time.
        fps: frames a second, as a fraction (numerator, denominator).
        objects: how many objects lie on the background.
        object_radius: of procedural shapes, relative to the frame's shorter side.
        amplitude_px: log-uniform; the largest displacement from frame 0 stays below the second number.
        gain: log-uniform between the first number and what the motion allows, at most the second.
        bound_px: largest magnified displacement.
        gains: magnified versions of each clip.
        gain_map_share: part of the gains that magnify one axis, some layers or a region only.
        waveforms: which kinds of waveform (clips of two frames use a ramp).
        pulse_amplitude: relative change of colour, log-uniform.
        shake_px: largest movement of a shaking camera, log-uniform.
        noise_share: part of the clips that have any noise.
        shot: variance of shot noise at full brightness, log-uniform; see `Sensor`.
        read: standard deviation of read noise, log-uniform; see `Sensor`.
        strong_noise: how many times the variance of the noise is in `noise_only` clips.
        flicker: relative change of brightness in `flicker_only` clips, log-uniform.
        exposure_share: part of the clips that are blurred by a shutter time of 0.1 to 0.9 frames.
        rolling_share: part of the clips that are read row by row, over 0.2 to 0.9 frames.
        colour_perturbation: largest loss of brightness, by channel, of all frames but the first.
        dither: add uniform noise of one step before rounding to 8 bits.
        oversampling: texels per pixel of every layer; 1 costs up to 5% of the shift of a 4-px grating.
        texture_bank: procedural textures are numbered below this; a bank can be kept in memory.
        textures: procedural, or from the storybook; the user's own pictures go before both.
    """

    width_px: PositiveInt = 384
    height_px: PositiveInt = 384
    frames: PositiveInt = 2
    fps: tuple[PositiveInt, PositiveInt] = (30, 1)
    objects: tuple[PositiveInt, PositiveInt] = (7, 15)
    object_radius: Range = (0.06, 0.2)
    amplitude_px: Range = (0.01, 10.0)
    gain: Range = (2.0, 100.0)
    bound_px: PositiveFloat = 30.0
    gains: PositiveInt = 1
    gain_map_share: float = Field(0.0, ge=0, le=1)
    waveforms: Annotated[tuple[Literal[WAVEFORMS], ...], AtLeastOne] = WAVEFORMS
    pulse_amplitude: Range = (0.001, 0.02)
    shake_px: Range = (0.05, 1.0)
    noise_share: float = Field(0.8, ge=0, le=1)
    shot: Range = (3e-6, 3e-4)
    read: Range = (2e-4, 4e-3)
    strong_noise: float = Field(10.0, ge=1)
    flicker: Range = (0.005, 0.05)
    exposure_share: float = Field(0.0, ge=0, le=1)
    rolling_share: float = Field(0.0, ge=0, le=1)
    colour_perturbation: float = Field(0.0, ge=0, le=0.3)
    dither: bool = True
    oversampling: int = Field(2, ge=1, le=8)
    texture_bank: PositiveInt = 1 << 31
    textures: Literal["procedural", "storybook"] = "procedural"

    @model_validator(mode="after")
    def _ordered(self):
        for name in (
            "objects",
            "object_radius",
            "amplitude_px",
            "gain",
            "pulse_amplitude",
            "shake_px",
            "shot",
            "read",
            "flicker",
        ):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} = ({low:g}, {high:g}): expected two positive numbers, the lower one first")
        if self.objects[1] > 15:
            raise ValueError(f"objects = {self.objects}: at most 15")
        if self.gain[0] < 1:
            raise ValueError(f"gain = {self.gain}: magnification starts at 1")
        if self.amplitude_px[1] > self.bound_px:
            raise ValueError(f"amplitude_px up to {self.amplitude_px[1]:g} exceeds bound_px = {self.bound_px:g}")
        return self
