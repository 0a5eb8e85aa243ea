"""`verify`: whether a recipe's models do what builds rely on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.command_options import AsJson, RecipeFile, Sets
from flows.terminal import fact, notes, results, write_json

if TYPE_CHECKING:
    from limbeck.verification import Verified


def verify(
    recipe: RecipeFile,
    sets: Sets = [],  # noqa: B006 - Typer copies it
    as_json: AsJson = False,
) -> None:
    """Check a recipe's models, for who has the weights.

    Each is loaded as a build loads it. The last lines are for README's table of real models.
    """
    from limbeck.verification import verify as check

    found = check(recipe, sets=sets, note=lambda line: notes().print(Text(line, style="dim")))
    if as_json:
        write_json([asdict(each) | {"passed": each.passed, "line": each.line()} for each in found])
    else:
        results().print(Group(*(_table(each) for each in found)))
        for each in found:
            print(each.line())
    if not all(each.passed for each in found):
        raise typer.Exit(1)


def _table(found: Verified) -> Group:
    grid = Table.grid(padding=(0, 2))
    for check in found.checks:
        mark, style = ("✓", "green") if check.passed else ("✗", "red")
        expected = Text(check.expected, style="dim" if check.passed else "red")
        grid.add_row(Text(mark, style=style), Text(check.name), Text(check.found), expected)
    head = Text.assemble((found.id, "bold cyan"), f"  {found.role}", (f"  {found.how}, {found.seconds:.0f} s", "dim"))
    return Group(Text(), head, fact("  weights", Text(found.weights, style="dim")), grid, Text())
