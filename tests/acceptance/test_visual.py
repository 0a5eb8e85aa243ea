"""Visual instructions at full size. Oracles: the renderer's masks, the second implementation, and the majority answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_limbeck_marks import SIZE, marked_scenes

from limbeck.marks import disc

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.acceptance


def benchmark(name, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_marks_on_1000_scenes_are_inside_their_thing_and_none_overlap():
    total = things = 0
    for picture, marks, drawn in marked_scenes(1000, seed=29):
        covered = np.zeros((SIZE, SIZE), int)
        for mark in marks:
            rows, columns = disc(mark, SIZE, SIZE)
            assert picture.masks[mark.index][rows, columns].all()
            covered[rows, columns] += 1
        assert covered.max(initial=0) <= 1
        assert not (drawn != picture.image).any(-1)[covered == 0].any()
        total, things = total + len(marks), things + len(picture.masks)
    print(f"{total} marks on {things} things")
    assert total >= 0.97 * things


def test_every_program_made_answer_is_agreed_on_and_injected_errors_are_found():
    found = json.loads(benchmark("visual_truth.py", "--scenes", 500, "--written", 0))
    assert found["agreement"]["answers"] > 7000
    assert found["agreement"]["disagree"] == 0
    hits, rows = (sum(int(v.split("/")[i]) for v in found["errors"]["by_rule"].values()) for i in (0, 1))
    assert rows == 500
    assert hits >= 0.95 * rows


def test_a_blind_model_gets_no_further_than_the_majority():
    found = json.loads(benchmark("visual_blindness.py", "--scenes", 4000))
    assert found["held_out"] >= 2500
    assert abs(found["gain_cells_points"]) <= 2
    assert abs(found["gain_whole_points"]) <= 2
    assert found["pairs"] > 1000
    assert found["pairs_right_blind"] == 0
    assert 0.49 <= min(found["yes_share"]) <= max(found["yes_share"]) <= 0.51


def test_speed_and_memory():
    """2,000 rows a second on two cores: 1,000 a CPU second, whatever else runs; memory of making doesn't grow with the rows."""
    few, many = (json.loads(line) for line in benchmark("visual_speed.py", "--rows", 10_000, 100_000).splitlines())
    assert many["rows_a_cpu_second"] >= 1000
    assert many["making_peak_mb"] <= 1.1 * few["making_peak_mb"]
