"""`publish`: what a build would put on the Hub, and putting it there."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.command_options import AsJson, BuildFolder, Direct
from flows.terminal import fact, notes, progress, results, write_json

if TYPE_CHECKING:
    from limbeck.hub import Upload

To = Annotated[str, typer.Option("--to", metavar="OWNER/NAME", help="Name on the Hub.")]
Public = Annotated[bool, typer.Option("--public", metavar="", help="For everybody to see; private by default.")]


def publish(
    build: BuildFolder,
    to: To,
    push: Annotated[bool, typer.Option("--push", metavar="", help="Sends it; a dry run by default.")] = False,
    public: Public = False,
    direct: Direct = False,
    as_json: AsJson = False,
) -> None:
    """Send a finished build to the Hugging Face Hub.

    Without --push nothing is sent: what would be is listed. The token comes from HF_TOKEN.
    """
    from limbeck.hub import plan_upload

    plan = plan_upload(build, to, public=public)
    if not push:
        if as_json:
            write_json(plan.as_dict() | {"pushed": False})
        else:
            results().print(listing(plan))
        return
    sent = _send(plan, direct)
    if as_json:
        write_json(plan.as_dict() | {"pushed": True, **sent})
        return
    seen = "only you see it" if sent["private"] else "everybody sees it"
    what = "nothing had changed" if not sent["changed"] else f"{len(plan.files)} files, {seen}"
    results().print(fact("sent", Text(what)))
    results().print(fact("look", Text(sent["url"], style="cyan")))
    results().print(fact("load", Text(f'datasets.load_dataset("{plan.repo_id}")', style="cyan")))


def listing(plan: Upload) -> Group:
    """What an upload would send, and how the card begins."""
    from flows.terminal_estimate import size

    files = Table.grid(padding=(0, 2))
    files.add_column()
    files.add_column(justify="right")
    for path, count in plan.files.items():
        files.add_row(Text(f"  {path}"), size(count))
    files.add_row(Text("  in all", style="dim"), Text(size(plan.bytes), style="bold"))
    rows = ", ".join(f"{split} {count:,}" for split, count in plan.splits.items())
    row_licenses = ", ".join(f"{name} ({count:,})" for name, count in plan.row_licenses.items())
    head = plan.card.partition("\n---\n")[0].splitlines()[1:]
    seen = (
        Text("public: everybody would see it", style="yellow")
        if plan.public
        else Text("private: only you would see it")
    )
    return Group(
        Text("\nA dry run: nothing was sent, nobody was asked.\n", style="bold"),
        fact("dataset", Text(plan.url, style="cyan")),
        fact("new there", seen),
        fact("rows", Text(rows)),
        fact("licence", Text(f"{plan.license}; of what rows were made from: {row_licenses}")),
        Text(),
        files,
        Text("\n  The card, README.md, begins", style="dim"),
        *(Text(f"  {line}") for line in head),
        *(Text(f"\n  but {note}", style="yellow") for note in plan.notes),
        Text(),
        fact(
            "next",
            Text(f"limbeck publish {plan.build} --to {plan.repo_id} --push{' --public' * plan.public}", style="cyan"),
        ),
    )


def _send(plan: Upload, direct: bool) -> dict[str, Any]:
    """Uploads as a flow, or without Prefect."""
    from flows.prefect_api import run_flow
    from limbeck.hub import upload

    def flow() -> dict[str, Any]:
        from flows.publish_dataset import publish_dataset

        return publish_dataset(str(plan.build), plan.repo_id, plan.public)

    def say(line: str) -> None:
        notes().print(Text(line, style="dim"), soft_wrap=True)

    def directly() -> dict[str, Any]:
        return asdict(upload(plan, note=say))

    if direct:
        return directly()
    with progress() as bars:
        bars.doing("starting Prefect (--direct goes without)")
    return run_flow(flow, directly, say, lambda: None)
