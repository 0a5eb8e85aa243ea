"""`deploy`: a recipe's build on a schedule."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from flows.command_options import AsJson, OutFolder, RecipeFile, Sets
from flows.terminal import fact, results, write_json


def deploy(
    recipe: RecipeFile,
    cron: Annotated[
        str, typer.Option("--cron", metavar="CRON", help="When, such as [cyan]'0 3 * * 1'[/]: Mondays at 3.")
    ],
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="Of the schedule, such as Europe/Berlin.")
    ] = "UTC",
    out: OutFolder = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many source rows.")] = None,
    sets: Sets = [],  # noqa: B006 - Typer copies it
    publish: Annotated[
        str | None, typer.Option("--publish", metavar="OWNER/NAME", help="Sends each finished build to the Hub.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", metavar="", help="A dataset that --publish makes is for everybody to see.")
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the deployment.", show_default="the dataset's")
    ] = None,
    pool: Annotated[str, typer.Option("--pool", metavar="POOL", help="Whose workers run it.")] = "limbeck",
    as_json: AsJson = False,
) -> None:
    """Schedule a recipe's build on your Prefect server.

    Runs go to the same folder, so each pays for new rows only. Again replaces what was scheduled.
    """
    from flows.deploy_recipe import deploy as register

    made = register(
        recipe, cron, timezone=timezone, out=out, limit=limit, sets=sets, publish=publish, public=public,
        name=name, pool=pool,
    )  # fmt: skip
    if as_json:
        write_json(asdict(made))
        return
    console = results()
    console.print(fact("deployed", Text(made.name, style="bold")))
    console.print(fact("runs", Text(f"{made.cron} ({made.timezone}), first {made.next:%A %Y-%m-%d %H:%M %Z}")))
    console.print(fact("builds", Text(made.parameters["out"])))
    if publish:
        console.print(fact("publishes", Text(f"to {publish}; the worker needs HF_TOKEN in its environment")))
    console.print(fact("look", Text(made.url, style="cyan")))
    console.print(fact("next", Text(f"prefect worker start --pool {made.pool}", style="cyan")))
