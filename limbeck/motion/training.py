"""Training batches painted and recorded on the device that trains: what `stream.ClipStream` gives clip by clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import SettingError
from limbeck.motion.batch import Bank, paint_many, training_shots
from limbeck.motion.pose import frame_times, since_rest
from limbeck.motion.sensor import STEPS
from limbeck.motion.spec import ClipSpec


def training_batch(
    bank: Bank,
    chosen: Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    fused: bool | None = None,
) -> dict[str, Tensor]:
    """A batch of B clips of T frames and G gains each.

    The sensor's steps are those of `sensor.record`. Differs: noise and dither are drawn on the device, so they follow
    the same law but are not the draws that belong to a clip's seed; photons are Gaussian.

    Args:
        chosen: indices into the bank's clips.
        generator: on the bank's device, for noise and dither; or one for each clip, whose draws depend on no other.
        fused: see `batch.paint_many`.

    Returns:
        frames: (B, T, 3, H, W) float32 in [0, 1], recorded.
        magnified: (B, G, T, 3, H, W) float32, clean.
        gain_total: (B, G) float32.
        flow_forward: (B, T - 1, H, W, 2) float32.

    Raises:
        SettingError: the clips differ in their number of frames or gains, or one has a shutter time or what
            `paint_many` refuses.
    """
    clips = [bank.clips[index] for index in chosen]
    counts = {(clip.frames, len(clip.gains)) for clip in clips}
    if len(counts) != 1:
        raise SettingError(
            f"clips of {len(counts)} kinds (frames, gains): {sorted(counts)}", expected="one a batch",
            where="training_batch", remedy="batch clips of one length",
        )  # fmt: skip
    if any(clip.sensor.exposure_s > 0 for clip in clips):
        raise SettingError(
            "a clip with a shutter time", expected="exposure_s = 0", where="training_batch",
            remedy="render it with limbeck.motion.stream.ClipStream",
        )  # fmt: skip
    ((count, gains),) = counts
    shots, pairs = training_shots(bank.clips, chosen)
    painted = paint_many(bank, shots, pairs, fused)
    each = painted.frames.unflatten(0, (len(clips), count + gains * (count - 1)))
    clean, moved = each[:, :count], each[:, count:].unflatten(1, (gains, count - 1))
    magnified = torch.cat([clean[:, None, :1].expand(-1, gains, -1, -1, -1, -1), moved], 2)
    numbers = torch.from_numpy(np.array([_numbers(clip) for clip in clips], np.float32))
    device = clean.device
    numbers = (numbers.pin_memory() if device.type == "cuda" else numbers).to(device, non_blocking=True)
    shot, variance, dither, factor, offset, light, gain = (
        part[..., None, None] for part in numbers.split([1, 1, 1, 3, 3, count, gains], 1)
    )
    recorded = clean * light[:, :, None]
    recorded[:, 1:].mul_(factor[:, None]).add_(offset[:, None])
    magnified[:, :, 1:].mul_(factor[:, None, None]).add_(offset[:, None, None])
    # (B, 1, 1, 1, 1)
    shot, variance, dither = (part[:, :, None] for part in (shot, variance, dither))
    normal, uniform = _noise(recorded, generator)
    recorded = recorded + normal.mul_((recorded.clamp_min(0) * shot + variance).sqrt_())
    steps = (recorded * STEPS).add_(torch.where(dither > 0, uniform, 0.5)).floor_().clamp_(0, STEPS)
    return {
        "frames": steps / STEPS,
        "magnified": magnified,
        "gain_total": gain[..., 0, 0],
        "flow_forward": painted.flow.unflatten(0, (len(clips), count - 1)),
    }


def _noise(like: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> tuple[Tensor, Tensor]:
    """Normal and uniform numbers of this shape (B, ...)."""
    normal, uniform = (like.new_empty(like.shape) for _ in range(2))
    if generator is None or isinstance(generator, torch.Generator):
        return normal.normal_(generator=generator), uniform.uniform_(generator=generator)
    for n, own in enumerate(generator):
        normal[n].normal_(generator=own)
        uniform[n].uniform_(generator=own)
    return normal, uniform


def _numbers(clip: ClipSpec) -> list[float]:
    """Noise, dither, colour perturbation, brightness of every frame, gains."""
    sensor, (factor, offset) = clip.sensor, clip.perturbation
    light = np.ones(clip.frames)
    if sensor.drift is not None:
        light += sensor.drift_amplitude * since_rest(sensor.drift, frame_times(clip))
    gains = [gain.gain_total for gain in clip.gains]
    return [sensor.shot, sensor.read**2, float(sensor.dither), *factor, *offset, *light, *gains]
