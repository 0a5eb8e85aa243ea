"""A clip as a row of the MotionClip record, and back."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from limbeck.motion.clip import Clip
from limbeck.motion.gain import clip_peak_px
from limbeck.motion.preview import preview
from limbeck.motion.spec import ClipSpec
from limbeck.motion.storage import encode


def labels(spec: ClipSpec) -> dict[str, Any]:
    """What a specification says in columns of plain numbers; costs no rendering."""
    return {
        "clip_spec": spec.model_dump_json(),
        "subset": spec.subset,
        "width_px": spec.width_px,
        "height_px": spec.height_px,
        "frame_count": spec.frames,
        "fps": {"numerator": spec.fps[0], "denominator": spec.fps[1]},
        "gain_total": [gain.gain_total for gain in spec.gains],
        "peak_px": clip_peak_px(spec),
        "magnified_peak_px": [clip_peak_px(spec, gain) for gain in spec.gains],
        "aliased": spec.aliased,
        "motions": [_motion_label(layer, motion) for layer, item in enumerate(spec.layers) for motion in item.motions]
        + [_motion_label(-1, motion) for motion in spec.shake],
        "texture_hashes": sorted({item.texture.sha256 for item in spec.layers if item.texture.kind == "picture"}),
        "seed": spec.seed,
    }


def arrays(clip: Clip, flow_dtype: Literal["float32", "float16"] = "float32", level: int = 1) -> dict[str, Any]:
    """A rendered clip's columns: arrays of type `ARRAY`, and a preview.

    A float16 flow is spaced 7.6e-6 px at 0.01 px, 0.001 px at 1 px and 0.016 px at 16 px.
    """
    flow = np.dtype(flow_dtype)
    return {
        "preview": preview(clip),
        "frames": encode(_last(clip.frames), "THWC", "png", level),
        "magnified_frames": encode(_last(clip.magnified_uint8()), "GTHWC", "png", level),
        "layer_ids": encode(clip.layer_ids.cpu().numpy(), "THW", "png", level),
        "flow_forward": encode(clip.forward.flow.cpu().numpy().astype(flow), "PHWV", "planes", level),
        "flow_backward": encode(clip.backward.flow.cpu().numpy().astype(flow), "PHWV", "planes", level),
        "occluded_forward": encode(_unseen(clip.forward), "PHW", "zstd", level),
        "occluded_backward": encode(_unseen(clip.backward), "PHW", "zstd", level),
        "tracks": encode(clip.tracks.points.astype(np.float32), "NTV", "planes", level),
        "tracks_visible": encode(clip.tracks.visible.astype(np.uint8), "NT", "zstd", level),
        "tracks_layer": clip.tracks.layer.tolist(),
    }


def _unseen(flow) -> np.ndarray:
    """0 seen in the other frame, 1 behind a nearer layer, 2 outside the frame, 3 both."""
    return (flow.occluded.to(int) + 2 * flow.outside.to(int)).cpu().numpy().astype(np.uint8)


def _last(frames) -> np.ndarray:
    """Colour from before (H, W) to after."""
    return frames.movedim(-3, -1).cpu().numpy()


def _motion_label(layer: int, motion) -> dict[str, Any]:
    wave = motion.waveform
    return {
        "layer": layer,
        "kind": motion.kind,
        "amplitude_px": motion.amplitude_px,
        "direction_rad": getattr(motion, "direction_rad", None),
        "waveform": wave.kind,
        "frequency_hz": wave.frequency_hz,
        "phase_rad": getattr(wave, "phase_rad", None),
        "damping_ratio": getattr(wave, "damping_ratio", None),
    }
