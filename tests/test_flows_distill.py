"""Commands of distillation. Oracles: files on disk, exit codes, lines worked out by hand with a clock of our own."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from toy_student import toy_student_recipe

from distill import catalog
from flows.distill_bars import DistillBars, DistillLines
from limbeck.describe import describe_settings
from limbeck.launch import main


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_distill_says_figures_and_where_to_look(tmp_path, capsys):
    recipe = toy_student_recipe(tmp_path)
    code, out, err = run(capsys, "distill", recipe, "-o", tmp_path / "out", "--direct")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert code == 0
    assert f"{report['formats']['safetensors']['values']['error']:.4f}" in out
    assert str(tmp_path / "out" / "student" / "README.md") in out
    assert "both 0: 20/20 steps" in err
    code, _, err = run(capsys, "distill", recipe, "-o", tmp_path / "out", "--direct")
    assert code == 0
    assert "both 0: done before" in err


def test_arms_are_told_with_their_verdict(tmp_path, capsys):
    recipe = toy_student_recipe(tmp_path, arms='seeds = 2\nnames = ["labels", "both"]')
    code, out, _ = run(capsys, "distill", recipe, "-o", tmp_path / "out", "--direct", "--arms")
    assert code == 0
    assert "over labels alone" in out
    assert "Descriptive: 2 seeds are too few" in out


def test_wrong_requests_are_2_and_failed_work_is_1(tmp_path, capsys):
    recipe = toy_student_recipe(tmp_path)
    code, _, err = run(capsys, "distill", recipe, "--set", "train.stesp=3")
    assert (code, "did you mean 'steps'?" in err) == (2, True)
    bad = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])["caption"]
    code, _, err = run(
        capsys, "distill", recipe, "-o", tmp_path / "o", "--direct", "--set", f"student.nan_caption='{bad}'"
    )
    assert code == 1
    assert "the loss is nan at step" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", sorted(catalog.files()))
def test_every_setting_of_a_student_has_a_word_about_it(name, capsys):
    _, settings = describe_settings(catalog.student_class(name))
    assert [s.name for s in settings if not s.doc and "." not in s.name] == []
    code, out, _ = run(capsys, "students", name)
    assert code == 0
    assert "learns from" in out


def test_students_are_listed(capsys):
    code, out, _ = run(capsys, "students")
    assert code == 0
    assert all(name in out for name in catalog.files())
    assert run(capsys, "students", "encodr")[0] == 2


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_say_rate_and_time_left():
    """Ten of a hundred steps in five seconds: two a second, 45 seconds to go."""
    clock, lines = Clock(), []
    told = DistillLines(lines.append, every_s=1.0, clock=clock)
    told.started("both 0", 100, "steps")
    told.advanced("both 0", 0)
    clock.now = 5.0
    told.advanced("both 0", 10, {"loss": 0.5})
    assert lines == ["both 0: 10/100 steps, 2.0/s, 0:45 left, loss 0.5"]
    clock.now = 50.0
    told.finished("both 0")
    assert lines[-1].startswith("both 0: 100/100 steps, 2.0/s, took 0:50")


def test_what_was_done_before_promises_nothing():
    """Taken up at step 90 of 100, five steps in five seconds: one a second, not nineteen."""
    clock, lines = Clock(), []
    told = DistillLines(lines.append, every_s=1.0, clock=clock)
    told.started("both 0", 100, "steps")
    told.advanced("both 0", 90)
    clock.now = 5.0
    told.advanced("both 0", 95, {"loss": 0.5})
    assert lines == ["both 0: 95/100 steps, 1.0/s, 0:05 left, loss 0.5"]


def test_bars_draw_every_step():
    clock = Clock()
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    bars = DistillBars(console, clock)
    bars.started("teacher", 1000, "views")
    bars.finished("teacher", reused=True)
    bars.started("both 0", 100, "steps")
    bars.advanced("both 0", 0)
    clock.now = 5.0
    bars.advanced("both 0", 10, {"loss": 0.5, "zero_shot": 0.9})
    console.print(bars.picture())
    text = console.export_text()
    assert "done before" in text
    assert "10/100" in text
    assert "0:45 left" in text
    assert "loss 0.5, zero_shot 0.9" in text
