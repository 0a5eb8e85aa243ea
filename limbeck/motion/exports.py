"""Clips for programs that already exist. Each format states what it loses.

oh2018  three frames, a magnified one and its factor, as deep_motion_mag's training code reads them.
        8 bits a colour; of longer clips the first two frames; its factor is gain_total (see below)
flo     Middlebury flow files. float32: 1e-9 px at 0.01 px, 2e-6 px at 30 px. No mask: occluded flow is in it
tap     TAP-Vid tracks. float32 positions: 3e-5 px at 384 px; the origin is a corner, not a centre (+0.5)
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from limbeck.errors import SettingError
from limbeck.motion.clip import Clip
from limbeck.motion.sensor import perturb, quantise
from limbeck.motion.storage import to_png

_FLO_TAG = np.float32(202021.25)


def write_oh2018(clips: Iterable[Clip], folder: Path) -> int:
    """frameA, frameB, frameC, amplified (PNG), train_mf.txt (a factor a line) and meta/ (JSON), numbered from 0.

    A is the first frame, C the second in clean colours, B the second with the clip's colour
    perturbation, amplified the magnified second frame, which carries B's perturbation. No noise: that
    training code adds its own. Its 8 bits are dithered, as the paper's are.

    Convention: the factor is `gain_total`, as 12dmodel/deep_motion_mag reads it: its manipulator gives
    `B + (factor - 1) * (B - A)`, so that a displacement d comes out as factor * d. A port that computes
    `B + alpha * (B - A)`, as the paper writes it, wants `alpha`, which is `gain_total - 1` and stands in meta/.

    Source: Oh et al. 2018, section 4; layout and `modules.res_manipulator` of 12dmodel/deep_motion_mag.

    Raises:
        SettingError: a clip of one frame, or without a gain.
    """
    folder = Path(folder)
    for name in ("frameA", "frameB", "frameC", "amplified", "meta"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    factors = []
    for number, clip in enumerate(clips):
        spec = clip.spec
        if spec.frames < 2 or not spec.gains:
            raise SettingError(
                f"clip {number} has {spec.frames} frames and {len(spec.gains)} gains", expected="at least 2 and 1"
            )
        pair = clip.clean[:2]
        pictures = {
            "frameA": pair[0],
            "frameB": perturb(spec, pair)[1],
            "frameC": pair[1],
            "amplified": clip.magnified[0, 1],
        }
        for name, picture in pictures.items():
            steps = quantise(picture[None], spec.sensor, draw=f"oh2018.{name}")[0]
            (folder / name / f"{number:06d}.png").write_bytes(to_png(steps.permute(1, 2, 0).cpu().numpy(), 1))
        gain = spec.gains[0].gain_total
        factors.append(gain)
        facts = {
            "amplification_factor": gain, "gain_total": gain, "alpha": gain - 1,
            "spec": json.loads(spec.model_dump_json()),
        }  # fmt: skip
        (folder / "meta" / f"{number:06d}.json").write_text(json.dumps(facts))
    (folder / "train_mf.txt").write_text("".join(f"{factor!r}\n" for factor in factors))
    return len(factors)


def write_flo(flows: Iterable[tuple[np.ndarray, np.ndarray]], folder: Path) -> int:
    """NUMBER/forward_TTTT.flo and backward_TTTT.flo: tag, width, height, then (x, y) pairs row by row.

    Args:
        flows: (P, H, W, 2) forward and backward flow of each clip.
    """
    count = 0
    for number, pair in enumerate(flows):
        place = Path(folder) / f"{number:06d}"
        place.mkdir(parents=True, exist_ok=True)
        for name, flow in zip(("forward", "backward"), pair, strict=True):
            for t, one in enumerate(flow):
                (place / f"{name}_{t:04d}.flo").write_bytes(flo_bytes(one))
        count += 1
    return count


def flo_bytes(flow: np.ndarray) -> bytes:
    """(H, W, 2) flow as a Middlebury .flo file."""
    height, width, _ = flow.shape
    head = _FLO_TAG.astype("<f4").tobytes() + np.array([width, height], "<i4").tobytes()
    return head + np.ascontiguousarray(flow, "<f4").tobytes()


def read_flo(data: bytes) -> np.ndarray:
    """(H, W, 2) float32 of a .flo file.

    Raises:
        ValueError: the tag is wrong, or the size.
    """
    if np.frombuffer(data[:4], "<f4")[0] != _FLO_TAG:
        raise ValueError("no .flo file: the tag 202021.25 is missing")
    width, height = np.frombuffer(data[4:12], "<i4")
    if len(data) != 12 + 8 * width * height:
        raise ValueError(f".flo file of {len(data)} bytes, expected {12 + 8 * width * height}")
    return np.frombuffer(data[12:], "<f4").reshape(height, width, 2)


def write_tap(clips: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], file: Path) -> int:
    """One pickle of {name: {video (T, H, W, 3) uint8, points (N, T, 2) float32, occluded (N, T) bool}}.

    As TAP-Vid's own files: points are (x, y) divided by (width, height), where the top-left corner of the
    top-left pixel is the origin, so its centre lies at half a pixel.

    Args:
        clips: frames (T, H, W, 3), tracks (N, T, 2) in pixels from the first pixel's centre, visible (N, T).
    """
    entries = {}
    for number, (frames, points, visible) in enumerate(clips):
        size = np.array([frames.shape[2], frames.shape[1]])
        entries[f"{number:06d}"] = {
            "video": frames,
            "points": ((points.astype(np.float64) + 0.5) / size).astype(np.float32),
            "occluded": ~visible.astype(bool),
        }
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_bytes(pickle.dumps(entries))
    return len(entries)
