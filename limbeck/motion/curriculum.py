"""What is drawn: the subsets of the curriculum and the ranges of everything in a clip.

Source: the first five subsets are those of Oh et al., "Learning-based video motion magnification",
2018, section 4; the others answer failures that their users report.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

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

Range = tuple[float, float]
_RANGES = (
    "objects", "object_radius", "amplitude_px", "gain", "pulse_amplitude", "shake_px", "shot", "read", "flicker",
)  # fmt: skip


class ClipSettings(Spec):
    """Ranges from which clips are drawn. Pairs are (lowest, highest).

    Attributes:
        frames: 2 gives Oh et al.'s pair, displaced once; more give waveforms in time.
        objects: how many objects lie on the background.
        object_radius: of procedural shapes, relative to the frame's shorter side.
        amplitude_px: log-uniform; the largest displacement from frame 0 stays below the second number.
        gain: log-uniform between the first number and what the motion allows, at most the second.
        bound_px: largest magnified displacement.
        gains: magnified versions of each clip.
        gain_map_share: part of the gains that magnify one axis, some layers or a region only.
        waveforms: which kinds of waveform (clips of two frames use a ramp).
        pulse_amplitude: relative change of colour, log-uniform.
        shot, read: noise, see `Sensor`; log-uniform. noise_share: part of the clips that have any.
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
    waveforms: tuple[Literal[WAVEFORMS], ...] = Field(WAVEFORMS, min_length=1)
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
