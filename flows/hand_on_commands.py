"""`export`, `train-miniatures`: what leaves a build, and what comes with limbeck."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from flows.command_options import BuildFolder
from flows.terminal import fact, notes, results


def export(
    build: BuildFolder,
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="diffusers, instructpix2pix, or another that is installed.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="A new folder.", show_default="DIR/export-NAME")
    ] = None,
) -> None:
    """Write what a trainer reads."""
    from limbeck.exports import export as write

    written = write(build, format, out)
    console = results()
    console.print(fact("wrote", Text(f"{written.rows:,} rows to {written.path}", style="cyan")))
    if written.unusable:
        console.print(fact("left out", Text(f"{written.unusable:,} rows whose pictures can't be read", style="yellow")))
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
