"""Progress: oracles are figures worked out by hand on a clock that the test holds."""

from __future__ import annotations

import io

from rich.console import Console

from flows.progress_bars import ProgressBars, ProgressLines
from flows.progress_tally import Tally


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def build(tally: Tally, clock: Clock) -> None:
    """Two parts of 10 rows: the first takes 5 s and makes 20, the second was made by an earlier run."""
    tally.planned(["make", "judge"], parts=2, rows=20)
    tally.part_started("make", 0, 10)
    clock.now += 5
    tally.rows_done("make", 0, 10)
    tally.part_done("make", 0, rows=10, kept=20, dropped=0, failed=1, reused=False)


def test_a_stage_is_projected_from_the_parts_that_reached_it():
    clock = Clock()
    tally = Tally(clock)
    build(tally, clock)
    make = tally.stages["make"]
    assert (make.rows, make.total, make.kept, make.failed) == (10, 20, 20, 1)
    assert make.rate(clock.now) == 2.0
    assert make.left_s(clock.now) == 5.0
    assert tally.stages["judge"].total is None


def test_what_an_earlier_run_did_doesnt_count_for_the_rate():
    clock = Clock()
    tally = Tally(clock)
    build(tally, clock)
    tally.part_done("make", 1, rows=30, kept=60, dropped=0, failed=0, reused=True)
    make = tally.stages["make"]
    assert make.finished
    assert (make.rows, make.total, make.reused) == (40, 40, 30)
    clock.now += 100  # it has ended: its rate stays
    assert make.rate(clock.now) == 2.0


def test_a_part_told_twice_counts_once():
    clock = Clock()
    tally = Tally(clock)
    build(tally, clock)
    tally.part_done("make", 0, rows=10, kept=20, dropped=0, failed=1, reused=True)
    assert (tally.stages["make"].rows, tally.stages["make"].reused) == (10, 0)


def test_lines_come_when_a_stage_ends_and_now_and_then():
    clock, lines = Clock(), []
    tally = ProgressLines(lines.append, every_s=4, clock=clock)
    build(tally, clock)
    assert lines == ["make: 10/~10, 2.0/s, 0:00 left"] or lines[0].startswith("make: 10/~20")
    lines.clear()
    tally.part_done("make", 1, rows=0, kept=0, dropped=0, failed=0, reused=False)
    assert lines == ["make: 10/10, → 20 (1 failed), 2.0/s, took 0:05"]


def test_bars_show_every_stage_with_rate_and_time_left():
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, legacy_windows=False)
    bars = ProgressBars(console, clock)
    build(bars, clock)
    console.print(bars.picture())
    text = out.getvalue()
    for word in ("make", "judge", "10/~20", "waiting", "2.0/s", "0:05 left"):
        assert word in text


def test_a_stage_without_work_of_its_own_takes_no_time():
    tally = ProgressLines((lines := []).append, clock=Clock())
    tally.planned(["decide"], parts=1, rows=4)
    tally.part_done("decide", 0, rows=4, kept=1, dropped=3, failed=0, reused=False)
    assert lines == ["decide: 4/4, → 1"]
