"""The page on visual instructions says what works: its Python runs and gives what it says, its recipes are valid."""

import re
import tomllib
from pathlib import Path

import pytest

from limbeck import catalog
from limbeck.exports import formats

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "visual.md").read_text(encoding="utf-8")


def test_its_python_runs_and_gives_what_it_says(capsys):
    names, shown = {}, []
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/visual.md", "exec"), names)
        shown += [(line.split("  # ")) for line in block.splitlines() if "  # " in line]
        for line, said in re.findall(r"^(\S.*)\n# (\(.*\))$", block, re.MULTILINE):
            shown.append([line, said])
    assert len(shown) == 4
    for expression, said in shown:
        assert eval(expression, names) == eval(said), expression
    printed = " / ".join(capsys.readouterr().out.split("\n")[:-1])
    assert printed == " ".join(
        re.search(r"^# (there ball supported.*?)```", PAGE, re.MULTILINE | re.DOTALL)[1].replace("# ", "").split()
    )


def test_its_recipes_name_stages_and_settings_that_there_are():
    stages = catalog.available()
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        for table in tomllib.loads(block)["stages"]:
            cls = stages[table.pop("use")]
            cls(**table)
    for name in re.findall(
        r"^\| `(\w+)`", PAGE[PAGE.index("## What checks them") : PAGE.index("A claim is")], re.MULTILINE
    ):
        assert name in stages
    for name in re.findall(r"^\| `(\w+)` \|", PAGE[PAGE.index("## Rows,") : PAGE.index("## Limits")], re.MULTILINE):
        assert name in formats()


@pytest.mark.parametrize("command", re.findall(r"^    limbeck run (\S+)", PAGE, re.MULTILINE))
def test_its_commands_name_recipes_that_there_are(command):
    assert (ROOT / command).is_file()
