"""How fast a batch of motion samples is painted on one device: samples a second, and the share of its bandwidth.

    python benchmarks/motion_gpu.py --out FILE           on a GPU, about a minute
    python benchmarks/motion_gpu.py --device cpu --size 96 --clips 4 --batches 2 4    the same path, to try it out;
                                                         with TRITON_INTERPRET=1 and a size of 32 the kernel as well

A sample is two inputs, one target and the forward flow, of a background and 11 objects. The layers of the clips lie in
a bank on the device and batches take turns with its clips; every batch works out its poses anew on the host, sends them
and paints. `layers` says what making the layers costs, once a clip, and `specifications` what drawing or reading one costs.

The bytes that have to move at least once: every texel in the window of a layer, once a clip, and every colour, layer id
and flow, once. Their rate is compared with that of a copy on the same device, reads and writes counted.

Needs numpy, scipy, pydantic and torch (on a GPU with Triton, which comes with it); nothing else of the project's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from limbeck.motion.batch import Bank, paint_many, paint_table, training_shots
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.pose import frame_times
from limbeck.motion.render import Scene, Shot, build_scene, render
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec
from limbeck.motion.tables import tabulate
from limbeck.motion.training import training_batch
from limbeck.motion.truth import flow_between

TILES = ((16, 16, 8), (8, 16, 4), (8, 32, 8), (16, 32, 8))
"""Height, width and warps of a tile to try."""


class Bench:
    """Measures on one device and writes down what it finds as it goes."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.device = asked, torch.device(asked.device)
        self.on_gpu = self.device.type == "cuda"
        self.found: dict = {"command": " ".join(sys.argv), "size_px": asked.size, "objects": asked.objects}
        self.started = time.perf_counter()
        self.copy_rate = float("nan")
        interpreted = os.environ.get("TRITON_INTERPRET") == "1"
        self.fused = (self.on_gpu or interpreted) and find_spec("triton") is not None
        self.tile: tuple[int, int, int] | None = None

    def step(self, name: str, work: Callable[[], dict]) -> None:
        """One measurement; a failure is written down and the next one goes on."""
        begin = time.perf_counter()
        try:
            result = work()
        except Exception as error:
            traceback.print_exc()
            result = {"failed": f"{type(error).__name__}: {error}"[:500]}
            if self.on_gpu:
                torch.cuda.empty_cache()
        self.found[name] = result
        shown = "  ".join(
            f"{key} {value:.5g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items()
        )
        print(f"[{begin - self.started:5.1f} s] {name}: {shown}", flush=True)
        if self.asked.out:
            Path(self.asked.out).write_text(json.dumps(self.found, indent=1) + "\n")

    def sync(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def device_s(self, work: Callable[[], object], repeats: int) -> float:
        """Median seconds that the device takes."""
        work()
        self.sync()
        taken = []
        for _ in range(repeats):
            if self.on_gpu:
                first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                first.record()
                work()
                last.record()
                last.synchronize()
                taken.append(first.elapsed_time(last) / 1e3)
            else:
                begin = time.perf_counter()
                work()
                taken.append(time.perf_counter() - begin)
        return statistics.median(taken)

    def wall_s(self, work: Callable[[int], object], repeats: int) -> float:
        """Seconds a batch when batches follow one another without waiting."""
        for index in range(2):
            work(index)
        self.sync()
        begin = time.perf_counter()
        for index in range(repeats):
            work(index)
        self.sync()
        return (time.perf_counter() - begin) / repeats

    def machine(self) -> dict:
        found = {"torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count()}
        if self.on_gpu:
            one = torch.cuda.get_device_properties(self.device)
            found |= {
                "gpu": one.name,
                "memory_gib": round(one.total_memory / 2**30),
                "processors": one.multi_processor_count,
            }
        if find_spec("triton"):
            import triton

            found["triton"] = triton.__version__
        return found

    def copy(self) -> dict:
        """The ceiling: bytes a second of a large copy on the device, reads and writes counted."""
        count = 1 << (30 if self.on_gpu else 24)
        source = torch.empty(count // 4, device=self.device).normal_()
        target = torch.empty_like(source)
        self.copy_rate = 2 * count / self.device_s(lambda: target.copy_(source), 10)
        return {"GB_a_s": self.copy_rate / 1e9}

    def specifications(self) -> dict:
        """Seconds to draw a specification, and to read one from JSON; on one core."""
        begin = time.perf_counter()
        drawn = [draw_clip(self.settings, "ordinary", 10_000 + seed) for seed in range(20)]
        middle = time.perf_counter()
        texts = [spec.model_dump_json() for spec in drawn]
        between = time.perf_counter()
        for text in texts:
            ClipSpec.model_validate_json(text)
        end = time.perf_counter()
        return {"drawn_a_s": 20 / (middle - begin), "read_a_s": 20 / (end - between)}

    @property
    def settings(self) -> ClipSettings:
        size, objects = self.asked.size, self.asked.objects
        return ClipSettings(width_px=size, height_px=size, frames=2, objects=(objects, objects))

    def layers(self) -> dict:
        """Make the clips' layers on the host, all cores, at most `--layers-s` seconds, and put them on the device."""
        specs = [draw_clip(self.settings, "ordinary", seed) for seed in range(self.asked.clips)]
        torch.set_num_threads(1)
        begin = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = [pool.submit(build_scene, spec) for spec in specs]
            wait(waiting, timeout=self.asked.layers_s)
            for each in waiting:
                each.cancel()
        scenes = [each.result() for each in waiting if not each.cancelled()]
        made = time.perf_counter()
        torch.set_num_threads(os.cpu_count() or 1)
        self.scenes = scenes
        self.bank = Bank.of(scenes, self.device)
        self.sync()
        return {
            "clips": len(scenes), "made_a_s": len(scenes) / (made - begin), "to_device_s": time.perf_counter() - made,
            "bank_GB": self.bank.atlas.nbytes / 1e9,
        }  # fmt: skip

    def agreement(self) -> dict:
        """The painted batch against `render` and `flow_between` on the CPU, clip by clip."""
        few = min(3, len(self.scenes))
        shots, pairs = training_shots(self.bank.clips, range(few))
        frames, ids = render(self.scenes, shots)
        flows = []
        for index in range(few):
            times = frame_times(self.scenes[index].clip)
            earlier, later = Shot(0, times[:1], shaken=True), Shot(0, times[1:], shaken=True)
            own = ids[3 * index : 3 * index + 1]
            flows.append(flow_between(self.scenes[index], earlier, later, own, occlusion=False).flow)
        out = {}
        for name, fused in (("fused", True), ("torch", False)):
            if fused and not self.fused:
                continue
            got = paint_many(self.bank, shots, pairs, fused=fused)
            same = (got.layer_ids.cpu() == ids)[0::3][: len(flows)]
            flow = (got.flow.cpu() - torch.cat(flows)).abs().amax(-1)[same]
            out |= {
                f"{name}_frames_differ_by": float((got.frames.cpu() - frames).abs().max()),
                f"{name}_ids_differ_at": int((got.layer_ids.cpu() != ids).sum()),
                f"{name}_flow_differs_by_px": float(flow.max()),
            }
        return out

    def tiles(self) -> dict:
        """Device milliseconds of a batch by tile; the best is used from here on."""
        from limbeck.motion import fused

        table, batch = self.table(min(64, len(self.scenes)), 0), {}
        there = table.on(self.device)
        for tall, wide, warps in TILES:
            try:
                seconds = self.device_s(
                    lambda tall=tall, wide=wide, warps=warps: fused.paint_fused(
                        self.bank.atlas, there, self.bank.oversampling, (tall, wide), warps
                    ),
                    5,
                )
                batch[f"{tall}x{wide}/{warps}"] = seconds * 1e3
            except Exception as error:
                batch[f"{tall}x{wide}/{warps}"] = f"{type(error).__name__}: {error}"[:200]
        times = {key: value for key, value in batch.items() if isinstance(value, float)}
        best = min(times, key=times.get)
        shape, warps = best.split("/")
        fused.TILE_PX, fused.WARPS = tuple(map(int, shape.split("x"))), int(warps)
        return {"ms_by_tile": batch, "best": best}

    def chosen(self, batch: int, index: int) -> list[int]:
        return [(index * batch + k) % len(self.scenes) for k in range(batch)]

    def table(self, batch: int, index: int):
        shots, pairs = training_shots(self.bank.clips, self.chosen(batch, index))
        return tabulate(self.bank.clips, self.bank.layout, self.bank.boxes, shots, pairs)

    def bytes_moved(self, batch: int) -> tuple[int, int]:
        """Bytes that have to move at least once a batch, and those if no frame shared a texel with another."""
        table = self.table(batch, 0)
        left, top, right, bottom = table.windows.astype(np.int64).transpose(2, 0, 1)
        texels = (right - left) * (bottom - top) * self.bank.oversampling**2  # (F, L)
        once = texels.reshape(batch, -1, texels.shape[1]).max(1).sum()
        written = self.asked.size**2 * (table.count * (3 * 4 + 1) + len(table.sources) * 8)
        return int(once * 16 + written), int(texels.sum() * 16 + written)

    def painted(self, batch: int, fused: bool, repeats: int) -> dict:
        """A batch size: whole, then host and device apart."""
        whole = self.wall_s(lambda index: paint_table(self.bank, self.table(batch, index), fused), repeats)
        begin = time.perf_counter()
        for index in range(3):
            self.table(batch, index)
        host = (time.perf_counter() - begin) / 3
        table = self.table(batch, 0)
        device = self.device_s(lambda: paint_table(self.bank, table, fused), min(repeats, 10))
        least, apart = self.bytes_moved(batch)
        return {
            "batch": batch, "samples_a_s": batch / whole, "wall_ms": whole * 1e3, "host_ms": host * 1e3,
            "device_ms": device * 1e3, "device_samples_a_s": batch / device,
            "least_MB_a_sample": least / batch / 1e6, "GB_a_s": least / whole / 1e9,
            "share_of_copy": least / whole / self.copy_rate, "device_GB_a_s": least / device / 1e9,
            "device_share_of_copy": least / device / self.copy_rate,
            "device_share_if_no_texel_is_shared": apart / device / self.copy_rate,
        }  # fmt: skip

    def recorded(self, batch: int) -> dict:
        """Painted, then shot and read noise, dither and 8 bits for the inputs, all on the device."""

        def work(index: int) -> None:
            training_batch(self.bank, self.chosen(batch, index), fused=self.fused)

        whole = self.wall_s(work, 10 if self.on_gpu else 2)
        return {"batch": batch, "samples_a_s": batch / whole, "wall_ms": whole * 1e3}

    def launches(self, batch: int) -> dict:
        """Kernels and copies of one batch, and where the device's time goes."""
        from torch.profiler import ProfilerActivity, profile

        table = self.table(batch, 0)
        out = {}
        for name, fused in (("fused", True), ("torch", False)):
            if fused and not self.fused:
                continue
            paint_table(self.bank, table, fused)
            self.sync()
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.on_gpu else [])]
            with profile(activities=activities) as seen:
                paint_table(self.bank, table, fused)
                self.sync()
            if self.on_gpu:
                events = [one for one in seen.events() if one.device_type == torch.autograd.DeviceType.CUDA]
            else:
                events = [one for one in seen.events() if one.cpu_parent is None]
            out[f"{name}_launches"] = len(events)
            out[f"{name}_longest"] = sorted({one.name[:60] for one in events[:200]})[:6]
        return out

    def clip_by_clip(self, batch: int) -> dict:
        """What it was before: poses layer by layer, flow clip by clip."""
        scenes = [
            Scene(scene.clip, tuple(type(c)(c.coefficients.to(self.device), c.origin, c.box, c.oversampling) for c in scene.canvases))
            for scene in self.scenes[:batch]
        ]  # fmt: skip
        shots, _ = training_shots(self.bank.clips, range(len(scenes)))

        def work(_: int) -> None:
            _, ids = render(scenes, shots)
            for index, scene in enumerate(scenes):
                one = [Shot(0, times) for times in np.split(frame_times(scene.clip), 2)]
                flow_between(scene, *one, ids[3 * index : 3 * index + 1], occlusion=False)

        whole = self.wall_s(work, 3 if self.on_gpu else 1)
        return {"batch": len(scenes), "samples_a_s": len(scenes) / whole}

    @torch.inference_mode()
    def run(self) -> None:
        self.step("machine", self.machine)
        self.step("copy", self.copy)
        self.step("specifications", self.specifications)
        self.step("layers", self.layers)
        self.step("agreement", self.agreement)
        if self.fused:
            self.step("tiles", self.tiles)
        for batch in self.asked.batches:
            if self.fused:
                self.step(f"fused {batch}", lambda batch=batch: self.painted(batch, True, self.asked.repeats))
        middle = self.asked.batches[0]
        self.step(f"recorded {middle}", lambda: self.recorded(middle))
        self.step(f"torch {middle}", lambda: self.painted(middle, False, 3 if self.on_gpu else 1))
        self.step("clip by clip", lambda: self.clip_by_clip(min(8, middle)))
        self.step("launches", lambda: self.launches(middle))
        print(f"{time.perf_counter() - self.started:.1f} s in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=384, help="side of the frames, px")
    parser.add_argument("--objects", type=int, default=11)
    parser.add_argument("--clips", type=int, default=64, help="distinct clips in the bank")
    parser.add_argument("--layers-s", type=float, default=10, help="seconds after which no more layers are made")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 32, 16])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", help="a JSON file of everything measured")
    asked = parser.parse_args()
    if torch.device(asked.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu tries the same path out, with a small --size")
    Bench(asked).run()


if __name__ == "__main__":
    main()
