"""What does a training step cost on a CPU by who hands out memory: glibc, tcmalloc, jemalloc, large pages?

    python -m benchmarks.allocators [recipes/distill-vlm.toml] [--steps 200] [--phase tune] [--set KEY=VALUE ...]

Trains the recipe's student for so many steps of one phase, in a fresh process of one thread for each setting, one after the
other. Prints CPU seconds a step in the first and in the last quarter (the first ten steps are left out) and the ratio to
glibc's. Libraries that aren't installed are left out (Debian: libtcmalloc-minimal4, libjemalloc2). Nothing that is
learnt depends on it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes.util
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from distill import opening, trainings
from distill.arm_names import ARMS
from distill.progress import Watcher
from distill.recipe import load

PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
WARM_UP = 10


class Enough(Exception):
    """So many steps were timed."""


class Clock(Watcher):
    """Processor time at every step of a phase."""

    def __init__(self, phase: str, steps: int) -> None:
        """Of the phase whose name a training's ends with."""
        self.phase, self.steps, self.times = phase, steps, []

    def advanced(self, step, done, figures=None) -> None:
        """Stops the training when there are enough."""
        if step.endswith(self.phase) and figures is None:
            self.times.append(time.process_time())
            if len(self.times) > self.steps:
                raise Enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    recipe = Path(__file__).parent.parent / "recipes/distill-vlm.toml"
    parser.add_argument("recipe", type=Path, nargs="?", default=recipe)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--phase", default="tune", help="whose steps are timed; those before it have one step each")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given, Path(given.child))
        return
    settings = {"glibc": {}, "glibc, large pages": PAGES}
    for name, library in (("tcmalloc", "tcmalloc_minimal"), ("jemalloc", "jemalloc")):
        if found := ctypes.util.find_library(library):
            settings |= {name: {"LD_PRELOAD": found}, f"{name}, large pages": {"LD_PRELOAD": found, **PAGES}}
        else:
            print(f"{name} isn't installed")
    baseline = None
    with TemporaryDirectory() as folder:
        for name, variables in settings.items():
            command = [sys.executable, "-m", "benchmarks.allocators", *sys.argv[1:], "--child", folder]
            env = os.environ | variables | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
            first, last = map(float, done.stdout.splitlines()[-1].split())
            baseline = baseline or (first, last)
            print(
                f"{name}: {first:.3f} s a step at first, {last:.3f} at last;"
                f" {first / baseline[0]:.2f} and {last / baseline[1]:.2f} of glibc's",
                flush=True,
            )


def child(given: argparse.Namespace, folder: Path) -> None:
    """Trains, and prints CPU seconds a step of the first and of the last quarter."""
    recipe = load(given.recipe, sets=given.sets)
    before = recipe.student.phases[: recipe.student.phases.index(given.phase)]
    short = [f"train.phases.{phase}.{key}" for phase in before for key in ("steps=1", "warmup=0")]
    recipe = load(given.recipe, sets=[*given.sets, *short, "evaluate.dev_rows=1"])
    work = opening.work_of(recipe, folder, "cpu", Watcher())
    clock = Clock(given.phase, given.steps + WARM_UP)
    with TemporaryDirectory() as out, contextlib.suppress(Enough):
        trainings.training(work, ARMS["labels"], 0, Path(out), clock)
    taken = [b - a for a, b in zip(clock.times, clock.times[1:], strict=False)][WARM_UP:]
    quarter = len(taken) // 4
    print(median(taken[:quarter]), median(taken[-quarter:]))


if __name__ == "__main__":
    main()
