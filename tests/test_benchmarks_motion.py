"""What the benchmarks of motion measure, on clips small enough for a test.

Oracles: a gain of 1 on a clean clip, where every candidate is the target; the order of floor, baseline and
ceiling; the page's tables against the recipes' levels.
"""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.motions import Translation
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Gain, Layer, Noise, Sensor
from limbeck.motion.waveforms import Ramp
from limbeck.recipe import load

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "motion.md").read_text(encoding="utf-8")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def get(name):
        sys.modules.pop(name, None)
        return __import__(name)

    return get


def pair(gain, **sensor):
    motion = Translation(amplitude_px=0.5, direction_rad=0.4, waveform=Ramp(duration_s=1 / 30))
    layer = Layer(texture=Noise(seed=1, finest_px=5), motions=(motion,))
    return ClipSpec(
        width_px=64, height_px=64, frames=2, layers=(layer,), gains=(Gain(gain_total=gain),),
        sensor=Sensor(**{"dither": False} | sensor),
    )  # fmt: skip


def test_sweeps_measure_a_floor_below_the_baselines_below_the_ceiling(benchmark):
    measure = benchmark("motion_sweeps").measure
    with torch.inference_mode():
        same, far = measure(pair(1.0)), measure(pair(8.0))
        noisy = measure(pair(8.0, shot=0.01, dither=True))
    assert all(same[name] > 0.995 for name in ("input", "linear", "phase", "warp"))
    assert far["input"] < far["phase"] < far["warp"]
    assert far["linear"] < far["phase"]
    assert noisy["warp"] == pytest.approx(far["warp"], abs=1e-6)  # it takes the clean frame
    assert all(noisy[name] < far[name] - 0.05 for name in ("input", "linear", "phase"))


@pytest.mark.parametrize(("name", "count"), [("motion", 15), ("noise", 21)])
def test_the_page_has_every_level_of_the_public_comparison(name, count):
    recipe = load(ROOT / "recipes" / f"motion-axial-{name}.toml")
    sweep = recipe.stages[0].stage.sweep
    levels = sweep["amplitude_px"] if name == "motion" else [255 * shot for shot in sweep["shot"]]
    part = PAGE[PAGE.index("| motion, px" if name == "motion" else "| noise factor") :]
    table = re.match(r"(\|.*\|\n)+", part).group().splitlines()[2:]
    shown = [float(row.split("|")[1]) for row in table]
    assert len(shown) == len(levels) == count
    assert shown == pytest.approx(sorted(levels), rel=0.02)


def test_the_gpu_path_is_measured_on_a_cpu_as_well(benchmark, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [
        "motion_gpu.py", "--device", "cpu", "--size", "24", "--objects", "1", "--clips", "2", "--batches", "2",
        "--repeats", "1", "--out", str(tmp_path / "found.json"),
    ])  # fmt: skip
    threads = torch.get_num_threads()
    benchmark("motion_gpu").main()
    torch.set_num_threads(threads)
    found = json.loads((tmp_path / "found.json").read_text())
    assert not [name for name, value in found.items() if isinstance(value, dict) and "failed" in value]
    assert found["agreement"]["torch_frames_differ_by"] < 1e-6
    assert found["agreement"]["torch_ids_differ_at"] == 0
    assert found["torch 2"]["samples_a_s"] > 0
    assert "samples_a_s" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_is_one_clear_error(benchmark, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["motion_gpu.py"])
    with pytest.raises(SystemExit):
        benchmark("motion_gpu").main()
    assert "no CUDA device here" in capsys.readouterr().err


def test_speed_counts_samples_with_textures_of_their_own(benchmark):
    speed = benchmark("motion_speed")
    spec = draw_clip(ClipSettings(width_px=24, height_px=24, objects=(1, 1)), "ordinary", 1)
    wall, processor = speed.timed(lambda: speed.build_scene(spec), 1)
    assert wall > 0
    assert processor >= 0
    stored = speed.encoded(speed.film(speed.build_scene(spec), 0, occlusion=False))
    assert [one["shape"] for one in stored] == [[2, 24, 24, 3], [1, 2, 24, 24, 3], [1, 24, 24, 2]]
