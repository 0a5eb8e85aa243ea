"""What is known exactly: flow, occlusion, alpha, tracks.

Truth is of the scene at the frames' instants, before the sensor: camera shake is in it (it moves the
picture), shutter blur, rolling shutter and noise are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from limbeck.motion.boxes import seen_boxes
from limbeck.motion.pose import Pose, frame_times, layer_pose
from limbeck.motion.render import Scene, Shot
from limbeck.motion.spline import MARGIN, sample
from limbeck.motion.textures import Canvas


@dataclass(frozen=True)
class Flow:
    """Dense motion of what is seen.

    Attributes:
        flow: (P, H, W, 2) px along (x, y), of the layer named by the layer ids.
        occluded: (P, H, W) bool, the material point is behind a nearer layer in the other frame.
        outside: (P, H, W) bool, the material point is outside the other frame.
    """

    flow: Tensor
    occluded: Tensor
    outside: Tensor


@dataclass(frozen=True)
class Tracks:
    """N material points over T frames.

    Attributes:
        points: (N, T, 2) float64 positions (x, y).
        visible: (N, T) bool: inside the frame and not behind a nearer layer.
        layer: (N,) int64.
    """

    points: np.ndarray
    visible: np.ndarray
    layer: np.ndarray


def flow_between(
    scene: Scene,
    source: Shot,
    target: Shot,
    layer_ids: Tensor,
    dtype: torch.dtype = torch.float32,
    occlusion: bool = True,
) -> Flow:
    """Flow from each of the P instants of one shot to those of another (targets may be magnified).

    Args:
        layer_ids: (P, H, W), as rendered for the source shot.
        dtype: float64 keeps forward-backward consistency to 1e-9 px.
        occlusion: False leaves `occluded` all False and saves most of the time.
    """
    clip, device = scene.clip, layer_ids.device
    count, height, width = layer_ids.shape
    flow = torch.zeros((count, height, width, 2), dtype=dtype, device=device)
    occluded = torch.zeros((count, height, width), dtype=torch.bool, device=device)
    for depth, canvas in enumerate(scene.canvases if count else ()):
        start = layer_pose(clip, depth, source.times_s, source.gain, source.shaken)
        end = layer_pose(clip, depth, target.times_s, target.gain, target.shaken)
        top, bottom, left, right = _window(start, canvas, depth, height, width)
        mine = layer_ids[:, top:bottom, left:right] == depth
        row = torch.arange(top, bottom, device=device, dtype=dtype)[None, :, None]
        column = torch.arange(left, right, device=device, dtype=dtype)[None, None, :]
        vx, vy = start.backward(column, row)
        dx, dy = end.forward(column + vx, row + vy)
        step = torch.stack([(vx + dx).expand(mine.shape), (vy + dy).expand(mine.shape)], -1)
        flow[:, top:bottom, left:right] = torch.where(mine[..., None], step, flow[:, top:bottom, left:right])
        if occlusion:
            hidden = covered(scene, target, depth, column + step[..., 0], row + step[..., 1])
            occluded[:, top:bottom, left:right] |= mine & hidden
    x = torch.arange(width, device=device, dtype=dtype) + flow[..., 0]
    y = torch.arange(height, device=device, dtype=dtype)[:, None] + flow[..., 1]
    outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    return Flow(flow, occluded, outside)


def covered(scene: Scene, shot: Shot, depth: int, x: Tensor, y: Tensor) -> Tensor:
    """Whether a layer nearer than `depth` covers positions (J, ...) of the frame at each instant."""
    hidden = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    for nearer in range(depth + 1, len(scene.canvases)):
        canvas = scene.canvases[nearer]
        pose = layer_pose(scene.clip, nearer, shot.times_s, shot.gain, shot.shaken)
        boxes = torch.as_tensor(seen_boxes(pose, canvas.box), dtype=x.dtype, device=x.device)
        left, top, right, bottom = (side.reshape(-1, *[1] * (x.ndim - 1)) for side in boxes.unbind(1))
        near = (x >= left) & (x <= right) & (y >= top) & (y <= bottom) & ~hidden
        for j in torch.nonzero(near.flatten(1).any(1)).flatten().tolist():
            at = near[j]
            hidden[j, at] = layer_rgba(scene, nearer, pose.take([j]), x[j, at][None], y[j, at][None])[0, ..., 3] >= 0.5
    return hidden


def layer_rgba(scene: Scene, depth: int, pose: Pose, x: Tensor, y: Tensor) -> Tensor:
    """(J, ..., 4) premultiplied colour and alpha of one layer at positions (J, ...) of the frame, pulse apart."""
    canvas = scene.canvases[depth]
    vx, vy = pose.backward(x, y)
    coefficients = canvas.coefficients.to(x.dtype)
    # Positions split into a whole and a fractional part, so that float32 loses nothing.
    whole_x, whole_y = torch.round(x), torch.round(y)
    height, width = (torch.tensor(side, dtype=torch.int32, device=x.device) for side in coefficients.shape[:2])
    return sample(
        coefficients.flatten(0, 1),
        torch.zeros((), dtype=torch.int32, device=x.device),
        height,
        width,
        (whole_y.int() - canvas.origin[1]) * canvas.oversampling + MARGIN,
        (whole_x.int() - canvas.origin[0]) * canvas.oversampling + MARGIN,
        (y - whole_y + vy) * canvas.oversampling,
        (x - whole_x + vx) * canvas.oversampling,
    )


def soft_alpha(scene: Scene, shot: Shot, dtype: torch.dtype = torch.float32) -> Tensor:
    """(J, L, H, W) alpha of every layer at every instant, before occlusion by nearer layers."""
    clip = scene.clip
    device = scene.canvases[0].coefficients.device
    count = len(shot.times_s)
    alpha = torch.zeros((count, len(scene.canvases), clip.height_px, clip.width_px), dtype=dtype, device=device)
    alpha[:, 0] = 1
    for depth in range(1, len(scene.canvases)):
        pose = layer_pose(clip, depth, shot.times_s, shot.gain, shot.shaken)
        top, bottom, left, right = _window(pose, scene.canvases[depth], depth, clip.height_px, clip.width_px)
        y = torch.arange(top, bottom, dtype=dtype, device=device)[None, :, None].expand(count, -1, right - left)
        x = torch.arange(left, right, dtype=dtype, device=device)[None, None, :].expand(count, bottom - top, -1)
        alpha[:, depth, top:bottom, left:right] = layer_rgba(scene, depth, pose, x, y)[..., 3]
    return alpha


def draw_tracks(scene: Scene, layer_ids: Tensor, count: int, rng: np.random.Generator) -> Tracks:
    """Tracks of points drawn over the first frame, every layer that is seen having an equal share.

    Args:
        layer_ids: (H, W) of the first frame.
    """
    ids = layer_ids.cpu().numpy()
    seen = np.unique(ids)
    rest, layers = [], []
    for order, depth in enumerate(seen):
        rows, columns = np.nonzero(ids == depth)
        share = count // len(seen) + (order < count % len(seen))
        pick = rng.integers(0, len(rows), share)
        # Within a quarter of the pixel's centre, where the pixel's layer is still the one seen.
        jitter = rng.uniform(-0.25, 0.25, (share, 2))
        rest.append(np.stack([columns[pick], rows[pick]], -1) + jitter)
        layers.append(np.full(share, depth, np.int64))
    return follow(scene, np.concatenate(rest), np.concatenate(layers))


def follow(scene: Scene, rest: np.ndarray, layer: np.ndarray, shot: Shot | None = None) -> Tracks:
    """Tracks of (N, 2) rest positions on given layers, through a shot (default: the input)."""
    clip = scene.clip
    shot = shot or Shot(0, frame_times(clip), shaken=True)
    points = np.empty((len(rest), len(shot.times_s), 2))
    visible = np.zeros(points.shape[:2], bool)
    device = scene.canvases[0].coefficients.device
    for depth in np.unique(layer):
        own = np.flatnonzero(layer == depth)
        pose = layer_pose(clip, int(depth), shot.times_s, shot.gain, shot.shaken)
        x, y = (torch.as_tensor(rest[own, axis], dtype=torch.float64, device=device)[None] for axis in (0, 1))
        dx, dy = pose.forward(x, y)
        px, py = torch.broadcast_tensors(x + dx, y + dy)
        px, py = (part.expand(len(shot.times_s), -1) for part in (px, py))
        inside = (px >= -0.5) & (px <= clip.width_px - 0.5) & (py >= -0.5) & (py <= clip.height_px - 0.5)
        clear = inside & ~covered(scene, shot, int(depth), px, py)
        points[own] = torch.stack([px, py], -1).transpose(0, 1).cpu().numpy()
        visible[own] = clear.T.cpu().numpy()
    return Tracks(points, visible, layer)


def consistency_px(forward: Flow, backward_at: Tensor) -> Tensor:
    """`|F(x) + B(x + F(x))|`, NaN where the forward flow is occluded or leaves the frame."""
    error = (forward.flow + backward_at).norm(dim=-1)
    return torch.where(forward.occluded | forward.outside, torch.nan, error)


def _window(pose: Pose, canvas: Canvas, depth: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Rows and columns of the frame in which a layer is seen at any instant: top, bottom, left, right."""
    if depth == 0:
        return 0, height, 0, width
    boxes = seen_boxes(pose, canvas.box)
    left, top = np.floor(boxes[:, :2].min(0)).astype(int)
    right, bottom = np.ceil(boxes[:, 2:].max(0)).astype(int) + 1
    top, left = np.clip([top, left], 0, [height, width])
    return int(top), int(np.clip(bottom, top, height)), int(left), int(np.clip(right, left, width))
