"""How fast motion samples are made, and what the sampling kernels are worth.

    python benchmarks/motion_speed.py                    samples a second, with and without encoding, by layers and size
    python benchmarks/motion_speed.py --kernels          gain of a small shift by kernel and period
    python benchmarks/motion_gpu.py                      many clips at once on a GPU

A sample is two inputs, one target and the forward flow. Both wall and processor time are given: on a machine that does
other things, processor time is what compares.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from limbeck.motion import textures
from limbeck.motion.clip import Clip, film
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.render import build_scene
from limbeck.motion.row import arrays
from limbeck.motion.sampling import draw_clip
from limbeck.motion.storage import encode


def settings(size_px: int, objects: int) -> ClipSettings:
    return ClipSettings(width_px=size_px, height_px=size_px, frames=2, objects=(objects, objects))


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Seconds a call: wall, processor."""
    work()
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - processor) / repeats


def line(name: str, wall: float, processor: float) -> None:
    print(f"{name:44s} {1 / wall:9.2f} /s wall {1 / processor:9.2f} /s processor {processor * 1e3:9.1f} ms", flush=True)


def cpu(repeats: int, threads: int) -> None:
    torch.set_num_threads(threads)
    print(f"{platform.processor() or platform.machine()}, {threads} threads, torch {torch.__version__}")
    for size_px, objects in ((384, 11), (384, 1), (384, 5), (384, 15), (192, 11), (768, 11)):
        spec = draw_clip(settings(size_px, objects), "ordinary", 1)
        scene = build_scene(spec)
        name = f"{size_px} px, {objects} objects"

        def layers(spec=spec):
            textures._noise_tile.cache_clear()  # every clip has textures of its own
            return build_scene(spec)

        def sample(layers=layers):
            return film(layers(), 0, occlusion=False)

        with torch.inference_mode():
            line(f"{name}: layers, once a clip", *timed(layers, repeats))
            line(f"{name}: frames and flow", *timed(lambda: film(scene, 0, occlusion=False), repeats))  # noqa: B023
            line(f"{name}: a sample", *timed(sample, repeats))
            if (size_px, objects) == (384, 11):
                line(f"{name}: a sample, encoded", *timed(lambda: encoded(sample()), repeats))
                line(f"{name}: all truth, encoded", *timed(lambda: arrays(film(layers(), 64)), repeats))


def encoded(clip: Clip) -> list[dict]:
    """The sample's pictures as PNG, its flow as float32 planes, as they are stored."""
    pictures = ((clip.frames, "THWC"), (clip.magnified_uint8(), "GTHWC"))
    stored = [encode(frames.movedim(-3, -1).numpy(), axes, "png") for frames, axes in pictures]
    return [*stored, encode(clip.forward.flow.numpy(), "PHWV", "planes")]


def kernels() -> None:
    """Recovered over true shift of a cosine, d = 0.01 px, by kernel, texels a pixel and period in pixels."""
    from scipy.ndimage import spline_filter

    def cosine_gain(
        kernel: Callable[[float], float], order: int, texels: int, period_px: float, d: float = 0.01
    ) -> float:
        count = 64 * texels
        wave = np.cos(2 * np.pi * np.arange(count) / (period_px * texels))
        if order > 1:
            wave = spline_filter(wave, order=order, mode="grid-wrap")
        shift = -d * texels
        base = int(np.floor(shift))
        taps = np.arange(-4, 6)
        values = sum(kernel(shift - base - tap) * np.roll(wave, -(base + tap)) for tap in taps)[::texels]
        probe = np.exp(-2j * np.pi * np.arange(len(values)) / period_px)
        rest = np.angle((np.cos(2 * np.pi * np.arange(len(values)) / period_px) * probe).sum())
        return float(rest - np.angle((values * probe).sum())) * period_px / (2 * np.pi) / d

    def keys(a: float) -> Callable[[float], float]:
        def kernel(t: float) -> float:
            t = abs(t)
            if t < 1:
                return (a + 2) * t**3 - (a + 3) * t**2 + 1
            return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0

        return kernel

    def spline(order: int) -> Callable[[float], float]:
        from scipy.interpolate import BSpline

        basis = BSpline.basis_element(np.arange(order + 2) - (order + 1) / 2, extrapolate=False)
        return lambda t: float(np.nan_to_num(basis(t)))

    table = {
        "bilinear": (lambda t: max(0.0, 1 - abs(t)), 1),
        "cubic a=-0.5": (keys(-0.5), 1),
        "cubic a=-0.75": (keys(-0.75), 1),
        "cubic B-spline": (spline(3), 3),
        "quintic B-spline": (spline(5), 5),
    }
    print(f"{'kernel':18s} texels " + " ".join(f"{period:>8.0f} px" for period in (4, 8, 16)))
    for name, (kernel, order) in table.items():
        for texels in (1, 2, 4, 12):
            gains = " ".join(f"{cosine_gain(kernel, order, texels, period):11.5f}" for period in (4, 8, 16))
            print(f"{name:18s} {texels:6d} {gains}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    if asked.kernels:
        kernels()
    else:
        cpu(asked.repeats, asked.threads)


if __name__ == "__main__":
    main()
