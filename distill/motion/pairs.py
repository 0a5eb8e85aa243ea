"""A clip as a pair of frames, and what the second one should become.

    first, second     the first frame, and the frame whose motion is largest
    light             the two before noise and 8 bits, so that a training can draw noise anew at every step
    recorded          the two as the sensor recorded them, in 8 bits
    magnified         the clean second frame at each gain
    still             where nothing moves, in the input or in any magnified frame

A build with rendered clips holds recorded frames and magnified ones in 8 bits; from specifications everything is
rendered, the recorded frames with the very noise that belongs to the clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import RequestError
from limbeck.motion.spec import ClipSpec

LIGHT_STEPS = 65535
"""Of light and targets as they are kept: 1.5e-5 of full brightness."""


@dataclass(frozen=True)
class Pair:
    """G gains; display values as whole numbers.

    Attributes:
        light: (2, 3, H, W) uint16, in 1 / 65535; None where only the recording is known.
        recorded: (2, 3, H, W) uint8.
        magnified: (G, 3, H, W) uint16, in 1 / 65535.
        still: (H, W) bool.
    """

    light: NDArray[np.uint16] | None
    recorded: NDArray[np.uint8]
    magnified: NDArray[np.uint16]
    still: NDArray[np.bool_]


def spec_of(row: Mapping[str, Any]) -> ClipSpec:
    """The specification of a row of MotionClip."""
    return ClipSpec.model_validate_json(row["clip_spec"])


def moved_frame(spec: ClipSpec) -> int:
    """Number of the frame in which something is farthest from rest; the last one where nothing moves.

    >>> from limbeck.motion.spec import Layer, Plain
    >>> moved_frame(ClipSpec(width_px=8, height_px=8, frames=2, layers=(Layer(texture=Plain()),)))
    1
    """
    from limbeck.motion.boxes import peak_px
    from limbeck.motion.gain import layer_box
    from limbeck.motion.pose import frame_times, layer_pose

    if spec.frames <= 2:
        return spec.frames - 1
    times, far = frame_times(spec), np.zeros(spec.frames)
    for index in range(len(spec.layers)):
        pose, box = layer_pose(spec, index, times, None, shaken=False), layer_box(spec, index)
        far = np.maximum(far, [peak_px(pose.take([t]), box) for t in range(spec.frames)])
    return int(far.argmax()) if far.any() else spec.frames - 1


def motion_px(spec: ClipSpec) -> float:
    """Largest displacement between the two frames."""
    from limbeck.motion.gain import clip_peak_px

    return clip_peak_px(spec)


def rendered_pair(spec: ClipSpec) -> Pair:
    """Renders a pair from its specification.

    Raises:
        SettingError: a gain exceeds the clip's bound.
        ValueError: a picture of the user's own is needed.
    """
    import torch

    from limbeck.motion.pose import frame_times
    from limbeck.motion.render import Shot, build_scene, recording_times, render
    from limbeck.motion.sensor import add_noise, expose, perturb, quantise

    at = moved_frame(spec)
    times, recording = frame_times(spec), recording_times(spec)[[0, at]]
    instants = recording.shape[1]
    with torch.inference_mode():
        shots = [
            Shot(0, recording.reshape(2 * instants, -1), shaken=True),
            *(Shot(0, times[at : at + 1], gain) for gain in spec.gains),
        ]
        frames, ids = render([build_scene(spec)], shots)
        # the sensor counts frames: what belongs to frame `at` is drawn as frame `at`
        whole = frames.new_zeros((spec.frames, instants, *frames.shape[1:]))
        whole[[0, at]] = frames[: 2 * instants].unflatten(0, (2, instants))
        light = perturb(spec, expose(spec, whole))
        recorded = quantise(add_noise(light, spec.sensor), spec.sensor)
        magnified = perturb(spec, frames[2 * instants :], first=0)
        return Pair(_kept(light[[0, at]]), recorded[[0, at]].numpy(), _kept(magnified), still_pixels(spec, ids.numpy()))


def stored_pair(row: Mapping[str, Any], spec: ClipSpec) -> Pair:
    """Reads a pair from the columns of a rendered clip.

    Raises:
        ValueError: a column can't be read.
    """
    from limbeck.motion.gain import clip_peak_px
    from limbeck.motion.storage import decode

    at = moved_frame(spec)
    recorded, magnified = decode(row["frames"])[[0, at]], decode(row["magnified_frames"])[:, at]
    ids = decode(row["layer_ids"])[[0, at]] if row.get("layer_ids") else np.zeros((2, *recorded.shape[1:3]), np.uint8)
    farthest = max((clip_peak_px(spec, gain) for gain in spec.gains), default=0.0)
    return Pair(
        None,
        np.ascontiguousarray(np.moveaxis(recorded, -1, 1)),
        np.ascontiguousarray(np.moveaxis(magnified, -1, 1)).astype(np.uint16) * (LIGHT_STEPS // 255),
        still_pixels(spec, ids, math.ceil(farthest)),  # layers of magnified frames aren't stored
    )


def pair_of(row: Mapping[str, Any]) -> Pair:
    """The stored pair where the row holds one, else a rendered one.

    Raises:
        RequestError: neither works; the row is named.
    """
    spec = spec_of(row)
    try:
        return stored_pair(row, spec) if row.get("frames") and row.get("magnified_frames") else rendered_pair(spec)
    except ValueError as error:
        raise RequestError(
            f"row {row.get('id')}: {error}", expected="a clip that is stored or renders from its specification",
            remedy="publish rendered clips (specs_only = false) where they show your own pictures",
        ) from error  # fmt: skip


def _kept(frames: Any) -> NDArray[np.uint16]:
    """Display values as whole numbers."""
    return (frames.clamp(0, 1) * LIGHT_STEPS).round().numpy().astype(np.uint16)


def still_pixels(spec: ClipSpec, ids: NDArray[np.uint8], reach_px: int = 0) -> NDArray[np.bool_]:
    """(H, W) bool: what doesn't move in any of the frames, 3 px and `reach_px` away from anything that does.

    Flickering light and noise don't move a pixel; a shaking camera does, and a colour that pulses counts as motion.

    Args:
        spec: the clip.
        ids: (K, H, W) layers seen in K frames.
        reach_px: how far things move in frames whose layers aren't known.
    """
    from scipy.ndimage import binary_erosion

    resting = np.array([not layer.motions and layer.pulse is None and not spec.shake for layer in spec.layers])
    still = resting[ids].all(0)
    return still if still.all() else binary_erosion(still, iterations=3 + reach_px, border_value=1)
