"""`status`, `report`, `row`: what lies in a build."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.command_options import AsJson, BuildFolder, NoOpen
from flows.terminal import fact, results, show, write_json


def status(build: BuildFolder, as_json: AsJson = False) -> None:
    """Say how far a build is, and what it has cost."""
    from flows.terminal_status import table
    from limbeck.status import status as look

    found = look(build)
    if as_json:
        write_json(asdict(found))
    else:
        results().print(table(found))


def report(build: BuildFolder, no_open: NoOpen = False) -> None:
    """Write the report anew and open it."""
    import limbeck
    from limbeck.report import write_report

    page = write_report(limbeck.open_build(build))
    results().print(fact("look", Text(str(page), style="cyan")))
    show(page, wanted=not no_open)


def row(
    build: BuildFolder,
    row_id: Annotated[str, typer.Argument(metavar="ID", help="As in the column `id` and in the report.")],
    again: Annotated[
        bool, typer.Option("--again", metavar="", help="Makes it again and states the difference.")
    ] = False,
) -> None:
    """Tell a row's way through the stages."""
    import limbeck

    built = limbeck.open_build(build)
    console = results()
    for step in built.lineage(row_id):
        name = step.pop("stage")
        console.print(Text(f"\n{name}", style="bold cyan"))
        console.print(_facts(step))
    if again:
        from limbeck.again import make_again

        console.print(Text("\nmade again", style="bold cyan"))
        for difference in make_again(built, row_id):
            console.print(Text(f"  {difference}"))


def _facts(step: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in step.items():
        table.add_row(Text(f"  {name}", style="dim"), Text(_shown(value)))
    return table


def _shown(value: Any) -> str:
    """A value on a line.

    >>> _shown(b"1234"), _shown(0.123456789), _shown(["a", "b"])
    ('4 bytes', '0.1235', 'a, b')
    """
    if isinstance(value, bytes):
        return _picture(value) or f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _picture(value: bytes) -> str:
    from io import BytesIO

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(value)) as image:
            return f"{image.format} {image.width} x {image.height}, {len(value):,} bytes"
    except (UnidentifiedImageError, OSError):
        return ""
