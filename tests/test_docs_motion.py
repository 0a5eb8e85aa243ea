"""The page on motion says what works: its Python runs, and its table is what the benchmark measures."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "motion.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_its_python_runs():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(block, "docs/motion.md", "exec"), names)  # our own page
    assert names["sample"]["frames"].shape == (2, 2, 3, 64, 64)
    assert names["batch"]["frames"].shape == (3, 2, 3, 64, 64)


def test_its_kernel_table_is_measured(capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("motion_speed", None)
    import motion_speed

    motion_speed.kernels()
    measured = {}
    for line in capsys.readouterr().out.splitlines()[1:]:
        *name, texels, a, b, c = line.split()
        measured[" ".join(name), texels] = [float(a), float(b), float(c)]
    page = PAGE[: PAGE.index("## The public comparison")]
    rows = re.findall(r"^\| \**([\w =.,-]+?)\** \| \**(\d+)\** \| (.+) \|$", page, re.M)
    assert len(rows) == 6
    for names, texels, cells in rows:
        values = [float(cell.strip(" *")) for cell in cells.split("|")]
        for name in names.split(", "):
            assert measured[name, texels] == pytest.approx(values, abs=6e-4), (name, texels)
