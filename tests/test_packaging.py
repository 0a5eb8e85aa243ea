"""What an installation holds. Oracle: the folders themselves, and a subprocess that says what it loaded."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import limbeck

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOTS = ("limbeck", "generators", "filters", "distill", "flows")


def test_the_wheel_lists_every_package_and_nothing_else():
    """Oracle: folders that hold Python files."""
    folders = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for root in ROOTS
        for path in (ROOT / root).rglob("*.py")
    }
    assert folders == set(PROJECT["tool"]["setuptools"]["packages"]), "list it in pyproject.toml, [tool.setuptools]"


def test_package_data_covers_every_other_file():
    """Oracle: files beside the code that git would commit."""
    patterns = {
        ROOT / package.replace(".", "/"): globs
        for package, globs in PROJECT["tool"]["setuptools"]["package-data"].items()
    }
    covered = {path for folder, globs in patterns.items() for glob in globs for path in folder.glob(glob)}
    for root in ROOTS:
        for path in (ROOT / root).rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                assert path in covered, f"{path.relative_to(ROOT)}: no pattern of package-data matches it"


def test_version_is_the_changelogs():
    """Oracle: the newest heading of CHANGELOG.md."""
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == PROJECT["project"]["version"] == limbeck.__version__


def test_importing_limbeck_loads_no_heavy_library():
    """Oracle: sys.modules of a fresh interpreter."""
    code = "import limbeck, sys; print([m for m in ('torch', 'transformers', 'diffusers', 'prefect', 'openai') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"


def test_miniatures_stay_small():
    """Oracle: limits of 24 MB for the four that the main job needs, 14 MB for the editor and 5 for the VLM distilled from them."""
    folder = ROOT / "limbeck" / "miniatures"
    files = [path for path in folder.rglob("*") if path.is_file()]
    editor, vlm = (sum(p.stat().st_size for p in files if folder / name in p.parents) for name in ("editor", "vlm"))
    others = sum(path.stat().st_size for path in files) - editor - vlm
    assert 1e6 < others < 24e6, f"{others / 1e6:.1f} MB"
    assert 1e6 < editor < 14e6, f"{editor / 1e6:.1f} MB"
    assert 1e6 < vlm < 5e6, f"{vlm / 1e6:.1f} MB"
    assert not [p for p in folder.rglob("*") if p.suffix in (".bin", ".pt", ".ckpt", ".py")], (
        "safetensors only, no code"
    )
