"""Launching: oracles are exit codes, what a fresh interpreter has imported, and a stranger's package put in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.errors import RequestError
from limbeck.launch import check_siblings, main

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "diffusers", "datasets", "prefect", "openai", "pandas", "scipy")


def python(*arguments: str, path: tuple[Path, ...] = (), cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=cwd, timeout=120, check=False
    )


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys\nfrom limbeck.launch import main\nrc = main(['--help'])\n"
        f"print(rc, [name for name in {HEAVY} if name in sys.modules])"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


@pytest.mark.parametrize("module", ["limbeck", "limbeck.building", "limbeck.recipe", "limbeck.describe"])
def test_importing_the_core_loads_no_torch(module, tmp_path):
    done = python("-c", f"import sys, {module}; print([n for n in {HEAVY} if n in sys.modules])", cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_packages_beside_limbeck_are_found():
    check_siblings()


def test_a_strangers_package_in_the_way_is_named_with_ours(tmp_path):
    (tmp_path / "filters.py").write_text("raise RuntimeError('imported')\n")
    done = python("-m", "limbeck", "stages", path=(tmp_path,), cwd=tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "filters.py") in done.stderr
    assert str(ROOT / "filters") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(RequestError, match="generators") as caught:
        check_siblings(tmp_path)
    assert str(tmp_path / "generators") in str(caught.value)


def test_a_users_mistake_has_no_traceback(tmp_path, capsys):
    assert main(["run", str(tmp_path / "nothing.toml"), "--direct"]) == 2
    said = capsys.readouterr().err
    assert "there is no such file" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments", [["run"], ["runn"], ["run", "x.toml", "--limit", "0"], ["status", "no-such-folder"]]
)
def test_a_wrong_request_is_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err
