"""CONTRIBUTING.md's five steps, replayed word for word in a copy of the packages.

Oracles: pytest's own verdict on the page's test, before and after the page's filter is broken, and a real build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGES = ("limbeck", "generators", "filters", "distill", "flows")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The packages without weights, and the page's two files where it says they go."""
    place = tmp_path_factory.mktemp("contributor")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for text in blocks("python"):
        head, _, body = text.partition("\n")
        file = place / head.removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(body, encoding="utf-8")
    return place


def type_(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = command.split()
    module = ["-m", "limbeck"] if program == "limbeck" else []
    return subprocess.run(
        [sys.executable, *module, *arguments], cwd=place, env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_page_has_its_five_steps():
    assert re.findall(r"^\*\*(\d)\. ", PAGE, re.MULTILINE) == list("12345")
    assert [len(blocks(language)) for language in ("python", "sh", "toml")] == [2, 2, 1]


def test_its_commands_work_and_its_test_can_fail(copy):
    for command in (line for block in blocks("sh") for line in block.splitlines()):
        done = type_(command, copy)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Least number of words" in done.stdout
    file = copy / "filters" / "instruction_length.py"
    right = file.read_text(encoding="utf-8")
    file.write_text(right.replace("> self.max_words", ">= self.max_words"), encoding="utf-8")
    assert type_(blocks("sh")[0].strip(), copy).returncode == 1
    file.write_text(right, encoding="utf-8")


def test_its_recipe_drops_what_the_page_says(copy, tmp_path):
    (tmp_path / "captions.csv").write_text("original_prompt,edit_prompt,edited_prompt\n" + "".join(
        f"a house {n},{' '.join(['now'] * n)},a red house {n}\n" for n in (1, 2, 12, 13)
    ), encoding="utf-8")  # fmt: skip
    (tmp_path / "mine.toml").write_text(
        '[dataset]\nname = "mine"\nrecord = "EditInstruction"\n'
        '[source]\ncaptions = "captions.csv"\n'
        "columns = { caption = \"original_prompt\" }\n" + blocks("toml")[0], encoding="utf-8"
    )  # fmt: skip
    done = type_(f"limbeck run {tmp_path / 'mine.toml'} --out {tmp_path / 'out'} --direct", copy)
    assert done.returncode == 0, done.stderr
    assert "2 of 4 rows kept" in done.stdout
    assert "too_short 1" in done.stdout
    assert "too_long 1" in done.stdout
