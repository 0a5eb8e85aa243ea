"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file; `limbeck init` writes one.")]
BuildFolder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `limbeck run` wrote.")]
Sets = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Overrides the recipe, such as [cyan]pairs.samples=8[/]. May be given again."
    ),
]
OutFolder = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="The build's folder.", show_default="builds/NAME")
]
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="For scripts: JSON on standard output.")]
NoOpen = Annotated[bool, typer.Option("--no-open", metavar="", help="Doesn't open the report in a browser.")]
Direct = Annotated[bool, typer.Option("--direct", metavar="", help="Without Prefect.")]
