"""From a layer's motions to maps: where its material is, and which material a pixel sees.

A pose holds J instants (and, for a rolling shutter, R = H rows an instant). Maps are written as
displacements, never as positions, so that float32 keeps 1e-9 px of a motion of 0.01 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.motion.fields import field
from limbeck.motion.motions import AFFINE_KINDS, ElasticMotion, Motion
from limbeck.motion.spec import ClipSpec, Gain, Window

_NEWTON_STEPS = {torch.float32: 5, torch.float64: 8}


@dataclass(frozen=True)
class Pose:
    """Where one layer's material is at J instants.

    Convention:
        Material at rest position p is seen at `camera(q)`, `q = p + G(p) * d(p)`, with
        `d(p) = rigid(p) - p + sum_k coefficients[k] * field_k(p)`. Without a gain map G is 1.

    Attributes:
        rigid: (J, R, 2, 3) float64, affine map minus identity.
        camera: (J, R, 2, 3) float64, affine map minus identity.
        elastic: the K elastic motions; coefficients: (J, R, K) float64, in px.
        gain_x, gain_y, window: gain map, for rule "displacement" only; gain_x = gain_y = 1 otherwise.
    """

    rigid: np.ndarray
    camera: np.ndarray
    elastic: tuple[ElasticMotion, ...] = ()
    coefficients: np.ndarray | None = None
    gain_x: float = 1.0
    gain_y: float = 1.0
    window: Window | None = None

    @property
    def is_affine(self) -> bool:
        """Whether the whole map is one affine map an instant."""
        return not self.elastic and self.gain_x == self.gain_y == 1.0

    def take(self, instants: Sequence[int] | slice) -> Pose:
        """The pose at some of the instants."""
        coefficients = None if self.coefficients is None else self.coefficients[instants]
        return Pose(
            self.rigid[instants], self.camera[instants], self.elastic, coefficients,
            self.gain_x, self.gain_y, self.window,
        )  # fmt: skip

    def forward(self, x: Tensor, y: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Displacement (seen position minus rest position) of material at rest positions.

        Args:
            x, y: (J or 1, ...) rest positions, px.
            rows: index of the output row that each position is seen in, for rolling shutters.
        """
        dx, dy, _ = self._displacement(x, y, rows)
        cx, cy = _apply(_entries(self.camera, x, rows), x + dx, y + dy)
        return dx + cx, dy + cy

    def backward(self, x: Tensor, y: Tensor, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Displacement (rest position minus seen position) of the material that a pixel sees.

        Exact for affine poses; Newton's method otherwise, to about 1e-12 px in float64.
        """
        whole = _compose(self.camera, self.rigid)
        if self.is_affine:
            return _apply(_entries(_inverse(whole), x, rows), x, y)
        cx, cy = _apply(_entries(_inverse(self.camera), x, rows), x, y)
        qx, qy = x + cx, y + cy
        vx, vy = torch.zeros_like(qx), torch.zeros_like(qy)
        for _ in range(_NEWTON_STEPS[x.dtype]):
            dx, dy, ((dxx, dxy), (dyx, dyy)) = self._displacement(qx + vx, qy + vy, rows)
            fx, fy = vx + dx, vy + dy
            a, d = 1 + dxx, 1 + dyy
            determinant = (a * d - dxy * dyx).clamp_min(0.05)
            vx = vx - (d * fx - dxy * fy) / determinant
            vy = vy - (a * fy - dyx * fx) / determinant
        return vx + cx, vy + cy

    def _displacement(self, x: Tensor, y: Tensor, rows: Tensor | None):
        """`G(p) d(p)` and its Jacobian."""
        (axx, axy, tx), (ayx, ayy, ty) = _entries(self.rigid, x, rows)
        dx, dy = axx * x + axy * y + tx, ayx * x + ayy * y + ty
        jxx, jxy, jyx, jyy = axx, axy, ayx, ayy
        for k, motion in enumerate(self.elastic):
            q = _select(self.coefficients[..., k], x, rows)
            (ex, ey), ((exx, exy), (eyx, eyy)) = field(motion, x, y)
            dx, dy = dx + q * ex, dy + q * ey
            jxx, jxy, jyx, jyy = jxx + q * exx, jxy + q * exy, jyx + q * eyx, jyy + q * eyy
        if self.gain_x == self.gain_y == 1.0:
            return dx, dy, ((jxx, jxy), (jyx, jyy))
        extra_x, extra_y = self.gain_x - 1, self.gain_y - 1
        bell, bell_x, bell_y = 1.0, 0.0, 0.0
        if self.window is not None:
            ux, uy = (x - self.window.centre_px[0]), (y - self.window.centre_px[1])
            bell = torch.exp(-(ux * ux + uy * uy) / (2 * self.window.sigma_px**2))
            bell_x, bell_y = -bell * ux / self.window.sigma_px**2, -bell * uy / self.window.sigma_px**2
        gx, gy = 1 + extra_x * bell, 1 + extra_y * bell
        return (
            gx * dx,
            gy * dy,
            (
                (gx * jxx + extra_x * bell_x * dx, gx * jxy + extra_x * bell_y * dx),
                (gy * jyx + extra_y * bell_x * dy, gy * jyy + extra_y * bell_y * dy),
            ),
        )


def layer_pose(clip: ClipSpec, layer: int, times_s: np.ndarray, gain: Gain | None = None, shaken: bool = True) -> Pose:
    """The pose of one layer.

    Args:
        times_s: (J,) or (J, R) instants; R is the frame's height for a rolling shutter.
        gain: None for the input.
        shaken: whether the camera's shake is in it (inputs) or not (targets).
    """
    times_s = np.atleast_1d(np.asarray(times_s, np.float64))
    times_s = times_s[:, None] if times_s.ndim == 1 else times_s
    motions = clip.layers[layer].motions
    total = 1.0 if gain is None else gain.of_layer(layer)
    by_parameters = gain is None or gain.rule == "parameters" or total == 1.0
    factor = total if by_parameters else 1.0
    gain_x = 1.0 if by_parameters else 1 + (total - 1) * gain.x
    gain_y = 1.0 if by_parameters else 1 + (total - 1) * gain.y
    rigid = _affine([motion for motion in motions if motion.kind in AFFINE_KINDS], times_s, factor)
    elastic = tuple(motion for motion in motions if motion.kind not in AFFINE_KINDS)
    window = None if by_parameters else gain.window
    if not elastic and window is None:  # a constant gain keeps an affine displacement affine
        rigid = rigid * np.array([[gain_x], [gain_y]])
        gain_x = gain_y = 1.0
    coefficients = [factor * motion.amplitude_px * since_rest(motion.waveform, times_s) for motion in elastic]
    return Pose(
        rigid=rigid,
        camera=_affine(clip.shake if shaken else (), times_s, 1.0),
        elastic=elastic,
        coefficients=np.stack(coefficients, -1) if elastic else None,
        gain_x=gain_x,
        gain_y=gain_y,
        window=window,
    )


def since_rest(waveform, times_s: np.ndarray) -> np.ndarray:
    """The waveform counted from its value at time 0, where the scene is at rest."""
    return waveform.value(times_s) - waveform.value(np.zeros(()))


def frame_times(clip: ClipSpec) -> np.ndarray:
    """(T,) float64: times of the frames in seconds."""
    return np.arange(clip.frames) * clip.fps[1] / clip.fps[0]


def _affine(motions: Sequence[Motion], times_s: np.ndarray, factor: float) -> np.ndarray:
    """(J, R, 2, 3): the motions one after another, minus the identity."""
    total = np.zeros((*times_s.shape, 2, 3))
    for motion in motions:
        size = factor * motion.amplitude_px * since_rest(motion.waveform, times_s)
        step = np.zeros_like(total)
        if motion.kind == "translation":
            step[..., 0, 2] = size * np.cos(motion.direction_rad)
            step[..., 1, 2] = size * np.sin(motion.direction_rad)
        else:
            part = size / motion.radius_px
            if motion.kind == "rotation":
                step[..., 0, 0] = step[..., 1, 1] = -2 * np.sin(part / 2) ** 2
                step[..., 1, 0] = np.sin(part)
                step[..., 0, 1] = -np.sin(part)
            else:
                step[..., 0, 0] = step[..., 1, 1] = np.expm1(part)
            step[..., 2] = -step[..., :2] @ np.asarray(motion.pivot_px, np.float64)
        total = _compose(step, total)
    return total


def _compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """`outer after inner`, all minus the identity: (I + A)(I + B) - I = A + B + A B."""
    product = outer + inner
    product = product + outer[..., :2] @ inner
    return product


def _inverse(step: np.ndarray) -> np.ndarray:
    """Inverse of (I + A) x + t, minus the identity: -(I + A)^-1 A and -(I + A)^-1 t."""
    return -np.linalg.solve(np.eye(2) + step[..., :2], step)


def _select(values: np.ndarray, like: Tensor, rows: Tensor | None) -> Tensor:
    """(J, R) values as (J, 1, 1...) or, with rows, as one value a position."""
    tensor = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    if values.shape[1] == 1:
        return tensor.reshape(-1, *[1] * (like.ndim - 1))
    instants = torch.arange(values.shape[0], device=like.device).reshape(-1, *[1] * (like.ndim - 1))
    return tensor[instants, rows]


def _entries(matrix: np.ndarray, like: Tensor, rows: Tensor | None):
    return tuple(tuple(_select(matrix[..., i, j], like, rows) for j in range(3)) for i in range(2))


def _apply(entries, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    (axx, axy, tx), (ayx, ayy, ty) = entries
    return axx * x + axy * y + tx, ayx * x + ayy * y + ty
