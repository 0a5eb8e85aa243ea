"""What a camera makes of a scene: shutter, rolling shutter, exposure drift, shot and read noise, 8 bits.

The steps are those of light: average over the shutter time, exposure, photons, electronics, steps.
Rolling shutter and camera shake are geometry and happen in the renderer, row by row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.motion.pose import frame_times, since_rest
from limbeck.motion.spec import ClipSpec, Sensor
from limbeck.seeds import seed

STEPS = 255


def expose(clip: ClipSpec, instants: Tensor) -> Tensor:
    """Average over the shutter time and apply exposure drift.

    Args:
        instants: (T, S, 3, H, W) clean frames at S instants each.

    Returns:
        (T, 3, H, W).
    """
    frames = instants.mean(1) if instants.shape[1] > 1 else instants[:, 0]
    sensor = clip.sensor
    if sensor.drift is None or sensor.drift_amplitude == 0:
        return frames
    factor = 1 + sensor.drift_amplitude * since_rest(sensor.drift, frame_times(clip))
    return frames * torch.as_tensor(factor, dtype=frames.dtype, device=frames.device)[:, None, None, None]


def perturb(clip: ClipSpec, frames: Tensor, first: int = 1) -> Tensor:
    """Colour perturbation of all frames from `first` on: `factor * v + offset`, by channel."""
    factor, offset = clip.perturbation
    if factor == (1.0, 1.0, 1.0) and offset == (0.0, 0.0, 0.0):
        return frames
    changed = frames.clone()
    scale = frames.new_tensor(factor)[:, None, None]
    changed[first:] = frames[first:] * scale + frames.new_tensor(offset)[:, None, None]
    return changed


def add_noise(frames: Tensor, sensor: Sensor) -> Tensor:
    """Shot and read noise, new in every frame, drawn on the CPU from the sensor's seed.

    Variance is `shot * v + read**2`. With `poisson` the photons are counted (shot > 0); otherwise
    both noises are one Gaussian.
    """
    if sensor.shot == 0 and sensor.read == 0:
        return frames
    noisy = torch.empty_like(frames)
    for index, frame in enumerate(frames):
        generator = _generator(sensor.seed, "noise", index)
        light = frame.clamp_min(0)
        if sensor.poisson and sensor.shot > 0:
            photons = torch.poisson((light / sensor.shot).float().cpu(), generator=generator)
            read = sensor.read * torch.randn(frame.shape, generator=generator)
            noisy[index] = (photons * sensor.shot + read).to(frame)
        else:
            normal = torch.randn(frame.shape, generator=generator).to(frame)
            noisy[index] = frame + (sensor.shot * light + sensor.read**2).sqrt() * normal
    return noisy


def quantise(frames: Tensor, sensor: Sensor, draw: str = "dither") -> Tensor:
    """(..., 3, H, W) uint8: round to 256 steps, after dithering by one step where the sensor says so.

    With dither the mean of many roundings is the value itself, anywhere in [0, 1].
    """
    steps = frames * STEPS
    if not sensor.dither:
        return steps.round().clamp(0, STEPS).to(torch.uint8)
    out = torch.empty(frames.shape, dtype=torch.uint8, device=frames.device)
    for index, frame in enumerate(steps):
        uniform = torch.rand(frame.shape, generator=_generator(sensor.seed, draw, index)).to(frame)
        out[index] = (frame + uniform).floor().clamp(0, STEPS).to(torch.uint8)
    return out


def record(clip: ClipSpec, instants: Tensor) -> Tensor:
    """(T, 3, H, W) uint8: the whole sensor on (T, S, 3, H, W) clean instants."""
    return quantise(add_noise(perturb(clip, expose(clip, instants)), clip.sensor), clip.sensor)


def _generator(sensor_seed: int, draw: str, frame: int) -> torch.Generator:
    # torch's Mersenne Twister takes 64 bits; one generator a frame keeps frames independent of their number.
    return torch.Generator().manual_seed(seed(sensor_seed, "motion.sensor", draw, frame) >> 1)
