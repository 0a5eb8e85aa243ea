"""`export`, `train-miniatures`: what leaves a build, and what comes with limbeck."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import limbeck
from flows.command_options import BuildFolder
from flows.terminal import fact, notes, results

# by the names of their files: importing the formats would keep every command waiting
_FORMATS = ", ".join(sorted(info.name for info in pkgutil.iter_modules([f"{limbeck.__path__[0]}/exports"])))


def export(
    build: BuildFolder,
    format: Annotated[str, typer.Option("--format", metavar="NAME", help=f"{_FORMATS}, or another that is installed.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A new folder.", show_default="DIR/export-NAME")
    ] = None,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the format, such as [cyan]turns=last[/]. May be given again.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Write what a trainer reads."""
    from limbeck.exports import export as write
    from limbeck.exports import options

    written = write(build, format, out, **options(format, sets))
    console = results()
    console.print(fact("wrote", Text(f"{written.rows:,} rows to {written.path}", style="cyan")))
    if written.unusable:
        reasons = "; ".join(f"{rows:,}: {why}" for why, rows in written.left_out.items())
        console.print(fact("left out", Text(f"{written.unusable:,} rows ({reasons})", style="yellow")))
    if written.next:
        console.print(fact("next", Text(written.next, style="cyan")))


def train_miniatures(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Some of them; all by default.")] = None,
) -> None:
    """Train the built-in models from nothing.

    On the storybook, with fixed seeds; goes on where it stopped.
    """
    from distill.miniatures.train_all import train
    from limbeck.errors import RequestError

    try:
        train(names or (), log=lambda line: notes().print(line, soft_wrap=True))
    except ValueError as error:
        raise RequestError(str(error)) from error
