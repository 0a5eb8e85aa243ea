"""SSIM of input, both baselines and a warp by the true flow, level by level of a sweep.

    python benchmarks/motion_sweeps.py OUT               OUT: a build of recipes/motion-axial-*.toml
    python benchmarks/motion_sweeps.py OUT --clips 4     clips a level

The target is the clean magnified second frame. `input` is the noisy second frame handed back unchanged: the floor.
`warp` takes the clean first frame along the true flow: the ceiling, short of what is uncovered.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import torch
from scipy.ndimage import map_coordinates
from skimage.metrics import structural_similarity

from limbeck.motion.eulerian import magnify_linear
from limbeck.motion.phase_based import magnify_phase
from limbeck.motion.pose import frame_times
from limbeck.motion.render import Shot, build_scene, render
from limbeck.motion.sensor import record
from limbeck.motion.spec import ClipSpec
from limbeck.motion.truth import flow_between
from limbeck.published_rows import Published


def ssim(shown: torch.Tensor, target: torch.Tensor) -> float:
    """Gaussian-weighted, as Wang et al. 2004."""
    pair = [frame.clamp(0, 1).permute(1, 2, 0).double().numpy() for frame in (shown, target)]
    return structural_similarity(
        *pair, channel_axis=2, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )


def measure(spec: ClipSpec) -> dict[str, float]:
    """SSIM of each candidate for the magnified second frame."""
    scene, gain = build_scene(spec), spec.gains[0]
    first, second = (Shot(0, times, shaken=True) for times in np.split(frame_times(spec), 2))
    far = Shot(0, second.times_s, gain)
    frames, ids = render([scene], [first, second, far])
    recorded = record(spec, frames[:2, None]).float() / 255
    target = frames[2]
    back = flow_between(scene, far, first, ids[2:], torch.float64, occlusion=False).flow[0].numpy()
    y, x = np.mgrid[: spec.height_px, : spec.width_px].astype(float)
    at = [y + back[..., 1], x + back[..., 0]]
    warped = np.stack([map_coordinates(channel.numpy(), at, order=3, mode="nearest") for channel in frames[0]])
    return {
        "input": ssim(recorded[1], target),
        "linear": ssim(magnify_linear(recorded, gain.gain_total)[1], target),
        "phase": ssim(magnify_phase(recorded, gain.gain_total)[1], target),
        "warp": ssim(torch.from_numpy(warped), target),
    }


def level(spec: ClipSpec) -> tuple[float, float, float]:
    """What is swept: motion, gain, shot noise."""
    motion = max(motion.amplitude_px for layer in spec.layers for motion in layer.motions)
    return round(motion, 5), round(spec.gains[0].gain_total, 3), spec.sensor.shot


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--clips", type=int, default=10)
    asked = parser.parse_args()
    found: dict[tuple, list[dict[str, float]]] = defaultdict(list)
    source = Published(asked.build)
    with torch.inference_mode():
        for split in source.splits:
            for row in source.rows(split, ("clip_spec",)):
                spec = ClipSpec.model_validate_json(row["clip_spec"])
                if len(found[level(spec)]) < asked.clips:
                    found[level(spec)].append(measure(spec))
    print(f"{'motion px':>10s} {'gain':>9s} {'shot':>10s} {'clips':>6s}   input  linear   phase    warp")
    for (motion, gain, shot), measured in sorted(found.items()):
        means = "  ".join(f"{np.mean([one[name] for one in measured]):6.3f}" for name in measured[0])
        print(f"{motion:10.5f} {gain:9.2f} {shot:10.3g} {len(measured):6d}  {means}")


if __name__ == "__main__":
    main()
