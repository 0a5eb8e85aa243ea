"""Gains: what a clip's motion allows, and a draw that does not pile up at the bound."""

from __future__ import annotations

import math

import numpy as np

from limbeck.errors import SettingError
from limbeck.motion.boxes import peak_px
from limbeck.motion.fields import steepest_px
from limbeck.motion.pose import frame_times, layer_pose, since_rest
from limbeck.motion.spec import ClipSpec, Gain
from limbeck.motion.textures import extent_px

STEEPEST = 0.75
"""Largest gradient of a magnified displacement. An elastic one folds material over itself at 1. A drawn turn or growth
keeps to it too: beyond half a turn a larger gain shows a smaller displacement, and what shrinks a lot aliases."""
BRIGHTEST = 0.5
"""Largest relative change of a magnified colour pulse."""


def layer_box(clip: ClipSpec, index: int) -> tuple[float, float, float, float]:
    """Rest box of a layer, in px; the frame itself for the background and for cut-outs of unknown extent."""
    layer = clip.layers[index]
    if index and layer.shape is None and layer.texture.kind == "picture" and layer.texture.extent is not None:
        left, top, right, bottom = (side * layer.texture.scale for side in layer.texture.extent)
        (cx, cy) = layer.centre_px
        return (cx + left, cy + top, cx + right, cy + bottom)
    if layer.texture.kind == "storybook" and layer.texture.thing is not None:
        half = layer.texture.side_px / 4  # things stand up to 0.45 of the page
        (cx, cy) = layer.centre_px
        return (cx - half, cy - half, cx + half, cy + half)
    if layer.shape is None:
        return (0.0, 0.0, clip.width_px - 1.0, clip.height_px - 1.0)
    half, (cx, cy) = extent_px(layer.shape) - 5 * layer.shape.edge_px, layer.centre_px
    return (cx - half, cy - half, cx + half, cy + half)


def layer_peak_px(clip: ClipSpec, index: int, gain: Gain | None = None) -> float:
    """Largest displacement from rest of a layer over the clip's frames, camera shake apart."""
    return peak_px(layer_pose(clip, index, frame_times(clip), gain, shaken=False), layer_box(clip, index))


def clip_peak_px(clip: ClipSpec, gain: Gain | None = None) -> float:
    """Largest displacement from rest of anything in the clip."""
    return max(layer_peak_px(clip, index, gain) for index in range(len(clip.layers)))


def steepest(clip: ClipSpec, gain: Gain | None = None) -> float:
    """Largest gradient of any layer's elastic displacement; must stay below 1."""
    worst, times = 0.0, frame_times(clip)
    for index in range(len(clip.layers)):
        pose = layer_pose(clip, index, times, gain, shaken=False)
        slopes = [
            steepest_px(motion) * float(np.abs(pose.coefficients[..., k]).max())
            for k, motion in enumerate(pose.elastic)
        ]
        slope = sum(slopes) * max(pose.gain_x, pose.gain_y)
        if pose.window is not None:
            rise = max(pose.gain_x, pose.gain_y) - 1
            slope += rise * math.exp(-0.5) / pose.window.sigma_px * layer_peak_px(clip, index)
        worst = max(worst, slope)
    return worst


def turned(clip: ClipSpec, gain: Gain | None = None) -> float:
    """Largest turn (in radians) or relative growth of any layer by one of its rotations and scalings."""
    worst, times = 0.0, frame_times(clip)
    for index, layer in enumerate(clip.layers):
        total = 1.0 if gain is None else gain.of_layer(index)
        for motion in layer.motions:
            if motion.kind not in ("rotation", "scaling"):
                continue
            size = motion.amplitude_px / motion.radius_px * float(np.abs(since_rest(motion.waveform, times)).max())
            by_parameters = gain is None or gain.rule == "parameters"
            angle = size * total if by_parameters else size
            slope = math.expm1(min(angle, 50.0)) if motion.kind == "scaling" else angle
            worst = max(worst, slope if by_parameters else slope * total)
    return worst


def brightest(clip: ClipSpec, gain: Gain | None = None) -> float:
    """Largest relative change of colour by any layer's pulse."""
    times = frame_times(clip)
    return max(
        (
            (1.0 if gain is None else gain.of_layer(index))
            * layer.pulse.amplitude
            * float(np.abs(since_rest(layer.pulse.waveform, times)).max())
            * max(map(abs, layer.pulse.rgb))
            for index, layer in enumerate(clip.layers)
            if layer.pulse
        ),
        default=0.0,
    )


def check_gains(clip: ClipSpec) -> None:
    """Refuse what can't be shown.

    Raises:
        SettingError: a magnified displacement beyond `bound_px`, or one that folds a layer.
    """
    for gain in (None, *clip.gains):
        name = "the input" if gain is None else f"gain_total = {gain.gain_total:g}"
        peak = clip_peak_px(clip, gain)
        if peak > clip.bound_px * (1 + 1e-9):
            raise SettingError(
                f"{name} moves things by {peak:.4g} px", expected=f"at most bound_px = {clip.bound_px:g}",
                where="clip.gains", remedy="lower the gain or the amplitude, or raise bound_px",
            )  # fmt: skip
        slope = steepest(clip, gain)
        if slope > STEEPEST * (1 + 1e-9):
            raise SettingError(
                f"{name} stretches a layer by {slope:.3g} px per px and would fold it", expected=f"at most {STEEPEST}",
                where="clip.gains", remedy="lower the gain or the amplitude, or choose a longer wavelength",
            )  # fmt: skip


def largest_gain(clip: ClipSpec, ceiling: float, shape: Gain | None = None) -> float:
    """The largest `gain_total` up to `ceiling` that the clip's motion, elasticity and colour allow.

    Args:
        shape: a gain whose rule and map are kept.
    """
    shape = shape or Gain(gain_total=1.0)

    def allowed(total: float) -> bool:
        gain = shape.model_copy(update={"gain_total": total})
        return (
            clip_peak_px(clip, gain) <= clip.bound_px
            and steepest(clip, gain) <= STEEPEST
            and turned(clip, gain) <= STEEPEST
            and brightest(clip, gain) <= BRIGHTEST
        )

    if allowed(ceiling):
        return ceiling
    low, high = 1.0, ceiling
    for _ in range(20):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low


def draw_gain(
    rng: np.random.Generator, clip: ClipSpec, least: float, ceiling: float, shape: Gain | None = None
) -> Gain:
    """A gain log-uniform between `least` and what the clip allows.

    Drawn inside its range, not clipped to it, so the bound attracts no mass.
    """
    shape = shape or Gain(gain_total=1.0)
    high = largest_gain(clip, ceiling, shape)
    total = math.exp(rng.uniform(math.log(min(least, high)), math.log(high)))
    return shape.model_copy(update={"gain_total": total})
