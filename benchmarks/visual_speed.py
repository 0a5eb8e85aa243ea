"""Questions made by programs: rows a second on two cores, and memory from 1,000 to 100,000 rows.

    python benchmarks/visual_speed.py

Speed: whole builds, from scenes to published Parquet, verdicts, card and report, by two worker processes. Memory: the
same build in one process, the greatest resident set while parts are made and while the build is finished, looked at
every 10 ms. Pictures aren't encoded (`pictures = false`). Each measurement has a fresh process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from limbeck.building import finish, make_plan, run_part
from limbeck.recipe import load
from limbeck.workers import Request, build_on

RECIPE = """
[dataset]
name = "speed"
record = "VisualInstruction"
license = "cc0-1.0"
languages = ["en", "ko"]

[source]
storybook = { rows = %d }

[[stages]]
use = "visual_questions"
pictures = false
"""
ROWS_A_SCENE = 10.75


class Peak(threading.Thread):
    """The greatest resident set of this process since it was last asked, in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._most = 0.0
        self.start()

    def run(self) -> None:
        me = psutil.Process()
        while True:
            self._most = max(self._most, me.memory_info().rss / 1e6)
            time.sleep(0.01)

    def take(self) -> int:
        time.sleep(0.05)
        most, self._most = self._most, 0.0
        return round(most)


def recipe(folder: str, rows: int) -> str:
    path = Path(folder) / "recipe.toml"
    path.write_text(RECIPE % max(1, round(rows / ROWS_A_SCENE)))
    return str(path)


def speed(rows: int, workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="limbeck-speed-") as folder:
        start = time.perf_counter()
        built = build_on(["cpu"] * workers, Request(recipe(folder, rows), f"{folder}/out"))
        seconds = time.perf_counter() - start
        made = sum(built.splits().values())
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in used)
    return {
        "rows": made, "seconds": round(seconds, 2), "rows_a_second": round(made / seconds),
        "rows_a_cpu_second": round(made / cpu),
    }  # fmt: skip


def memory(rows: int, _: int) -> dict[str, float]:
    peak = Peak()
    with tempfile.TemporaryDirectory(prefix="limbeck-speed-") as folder:
        plan = make_plan(load(recipe(folder, rows)), f"{folder}/out")
        for part in plan.parts:
            run_part(plan, part)
        making = peak.take()
        finish(plan)
        return {"making_peak_mb": making, "finishing_peak_mb": peak.take()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["speed", "memory"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps({"speed": speed, "memory": memory}[options.only](options.rows[0], options.workers)))
        sys.exit()
    for rows in options.rows:
        found: dict[str, float] = {}
        for only in ("speed", "memory"):
            command = [sys.executable, __file__, "--rows", str(rows), "--workers", str(options.workers), "--only", only]
            found |= json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        print(json.dumps(found), flush=True)
