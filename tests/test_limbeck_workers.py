"""Worker processes on one build. Oracles: the data of a build in one process, byte for byte; a killed worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from toy_recipes import TOYS, data_digest, toy_recipe

import limbeck
from limbeck.errors import TooManyErrors, WorkError
from limbeck.progress import Observer
from limbeck.recipe import load
from limbeck.workers import Request, build_on, devices


class Heard(Observer):
    def __init__(self) -> None:
        self.parts: dict[tuple[str, int], int] = {}
        self.plans = 0

    def planned(self, stages, parts, rows) -> None:
        self.plans += 1

    def part_done(self, stage, part, *, rows, kept, dropped, failed, reused) -> None:
        self.parts[stage, part] = self.parts.get((stage, part), 0) + (not reused)


def test_two_workers_make_what_one_process_makes(tmp_path):
    recipe = toy_recipe(tmp_path, 24, sample="wait_s = 0.05")
    heard = Heard()
    built = build_on(["cpu", "cpu"], Request(str(recipe), str(tmp_path / "two")), heard)
    limbeck.build(recipe, tmp_path / "one")
    assert built.finished
    assert data_digest(tmp_path / "two") == data_digest(tmp_path / "one")
    assert (built.path / "report" / "index.html").is_file()
    assert heard.plans == 1
    assert {count for (stage, _), count in heard.parts.items() if stage == "sample"} == {1}  # no part was made twice


def test_a_workers_error_comes_whole_through_the_process_border(tmp_path):
    recipe = toy_recipe(tmp_path, [f"broken {i}" for i in range(8)])
    with pytest.raises(TooManyErrors, match="can't read 'broken") as caught:
        build_on(["cpu"], Request(str(recipe), str(tmp_path / "out")))
    assert caught.value.exit_code == 1
    assert caught.value.remedy


def test_a_killed_worker_is_an_error_and_the_same_call_resumes(tmp_path):
    stage = tmp_path / "fatal.py"
    stage.write_text(
        f'''
import os, sys
from pathlib import Path
from typing import ClassVar
sys.path.insert(0, {str(TOYS.parent)!r})
from toy_stages import Sample
from limbeck.stage import settings

@settings
class Fatal(Sample):
    """Kills its process once."""

    name: ClassVar = "fatal"

    def generate(self, rows, run):
        if not Path({str(tmp_path / "killed")!r}).exists():
            Path({str(tmp_path / "killed")!r}).touch()
            os.kill(os.getpid(), 9)
        yield from super().generate(rows, run)
'''
    )
    recipe = toy_recipe(tmp_path, 8)
    recipe.write_text(recipe.read_text().replace(f"{TOYS}:Sample", f"{stage}:Fatal"))
    request = Request(str(recipe), str(tmp_path / "out"))
    with pytest.raises(WorkError, match="signal 9"):
        build_on(["cpu"], request)
    assert build_on(["cpu"], request).finished


def test_devices_of_a_recipe(tmp_path):
    recipe = toy_recipe(tmp_path, 4)
    assert devices(load(recipe)) == ()
    assert devices(load(recipe, sets=['run.devices=["cuda:0", "cuda:1"]'])) == ("cuda:0", "cuda:1")


def test_a_worker_sees_its_own_device_alone(monkeypatch):
    from limbeck.workers import _environment

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert _environment("cuda:1", 2)["CUDA_VISIBLE_DEVICES"] == "6"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert _environment("cuda:1", 2)["CUDA_VISIBLE_DEVICES"] == "1"
    assert _environment("cpu", 2)["CUDA_VISIBLE_DEVICES"] == ""


def test_the_command_line_uses_them(tmp_path, capsys):
    from limbeck.launch import main

    recipe = toy_recipe(tmp_path, 8, run='devices = ["cpu", "cpu"]')
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out), "--direct"]) == 0
    assert "rows kept" in capsys.readouterr().out
    assert Path(out / "data").is_dir()
    assert os.listdir(out / "data")
