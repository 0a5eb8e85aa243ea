"""Bounds of where things are: windows to paint, margins to keep, largest displacements.

All bounds are safe: affine maps are exact at a box's corners, elastic fields add at most the sum of
their amplitudes.
"""

from __future__ import annotations

import numpy as np

from limbeck.motion.pose import Pose, _compose, _inverse

Box = tuple[float, float, float, float]


def elastic_reach_px(pose: Pose) -> float:
    """Largest displacement by the elastic motions, gain map included."""
    if pose.coefficients is None:
        return 0.0
    return float(np.abs(pose.coefficients).sum(-1).max()) * max(pose.gain_x, pose.gain_y, 1.0)


def seen_boxes(pose: Pose, box: Box) -> np.ndarray:
    """(J, 4) left, top, right, bottom that hold all material of a rest box, at each instant."""
    corners = _corners(box)
    reach = elastic_reach_px(pose)
    candidates = []
    for gains in {(1.0, 1.0), (pose.gain_x, pose.gain_y)}:
        moved = _apply(pose.rigid * np.array(gains)[:, None], corners)
        for shift in (-reach, reach) if reach else (0.0,):
            for other in (-reach, reach) if reach else (0.0,):
                candidates.append(_apply(pose.camera, moved + np.array([shift, other])))
    points = np.concatenate(candidates, axis=-2)
    points = points.reshape(points.shape[0], -1, 2)
    return np.concatenate([points.min(1), points.max(1)], axis=-1)


def material_box(pose: Pose, box: Box) -> Box:
    """Rest box that holds all material seen inside a box of the frame at any of the instants."""
    reach = elastic_reach_px(pose)
    points = []
    for gains in {(1.0, 1.0), (pose.gain_x, pose.gain_y)}:
        scaled = pose.rigid * np.array(gains)[:, None]
        at = _apply(_inverse(pose.camera), _corners(box))
        for shift in (-reach, reach) if reach else (0.0,):
            for other in (-reach, reach) if reach else (0.0,):
                points.append(_apply(_inverse(scaled), at + np.array([shift, other])))
    flat = np.concatenate([part.reshape(-1, 2) for part in points])
    return (*flat.min(0).tolist(), *flat.max(0).tolist())


def peak_px(pose: Pose, box: Box) -> float:
    """Upper bound of the displacement from rest of a box's material, camera motion apart."""
    corners = _corners(box)
    moved = _apply(pose.rigid * np.array([[pose.gain_x], [pose.gain_y]]), corners) - corners
    return float(np.hypot(moved[..., 0], moved[..., 1]).max()) + elastic_reach_px(pose)


def whole_map(pose: Pose) -> np.ndarray:
    """(J, R, 2, 3) forward map of an affine pose, camera included, minus the identity."""
    return _compose(pose.camera, pose.rigid)


def _corners(box: Box) -> np.ndarray:
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [left, bottom], [right, bottom]], np.float64)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(J, R, 2, 3) map minus identity, applied to (4, 2) or (J, R, 4, 2) points."""
    return (
        points
        + np.einsum("jrab,...kb->jrka" if points.ndim == 2 else "jrab,jrkb->jrka", matrix[..., :2], points)
        + (matrix[..., None, :, 2])
    )
