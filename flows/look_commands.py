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
    if made := built.made_of(row_id):
        console.print(Text("\nmade of it", style="bold cyan"))
        console.print(_facts({row["id"]: _ended(row) for row in made}))
    if again:
        from limbeck.again import make_again

        console.print(Text("\nmade again", style="bold cyan"))
        for difference in make_again(built, row_id):
            console.print(Text(f"  {difference}"))


def _facts(step: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in step.items():
        if value == []:
            continue
        table.add_row(Text(f"  {name}", style="dim"), Text(_shown(value), overflow="fold"))
    return table


def _ended(row: dict[str, Any]) -> str:
    """A verdict in words.

    >>> _ended({"verdict": "dropped", "stage": "balance", "reasons": ["too_many_alike"]})
    'dropped by balance: too_many_alike'
    """
    if row["verdict"] == "kept":
        return "kept"
    return f"{row['verdict']} by {row['stage']}: {', '.join(row['reasons'] or [row['reason']])}"


def _shown(value: Any) -> str:
    """A value in words.

    >>> _shown(b"1234"), _shown(0.123456789), _shown(["a", "b"]), _shown({"x": 0.5, "y": None})
    ('4 bytes', '0.1235', 'a, b', 'x 0.5')
    >>> _shown([{"role": "user", "content": [{"type": "image", "text": None, "image": 0}]}])
    'user: [picture 1]'
    """
    if isinstance(value, bytes):
        return _picture(value) or f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        parts = [_shown(one) for one in value]
        return ("\n" if any(isinstance(one, dict | bytes) for one in value) else ", ").join(parts)
    if isinstance(value, dict) and value.keys() == {"role", "content"}:
        return f"{value['role']}: {' '.join(_block(part) for part in value['content'])}"
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        return _shown(value["bytes"])
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items() if one is not None)
    return str(value)


def _block(part: dict[str, Any]) -> str:
    return f"[picture {part['image'] + 1}]" if part["type"] == "image" else str(part["text"])


def _picture(value: bytes) -> str:
    from io import BytesIO

    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(value)) as image:
            return f"{image.format} {image.width} x {image.height}, {len(value):,} bytes"
    except (UnidentifiedImageError, OSError):
        return ""
