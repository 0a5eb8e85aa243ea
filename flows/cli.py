"""The command line: which commands there are, in which groups. What they do lives in the files beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import (
    build_commands,
    calibrate_command,
    deploy_commands,
    distill_commands,
    hand_on_commands,
    look_commands,
    publish_commands,
    start_commands,
    verify_command,
)
from limbeck import __version__

HELP = """One recipe file in, a filtered and documented dataset out.

A recipe names a [cyan]source[/] of rows, [cyan]models[/], and [cyan]stages[/] that make rows or judge them.
Every row ends kept, dropped for a reason, or failed.
What was interrupted goes on by the same command."""
EPILOG = """[bold]To begin with[/]
  limbeck init my.toml             a recipe that runs as it stands
  limbeck preview my.toml          a few rows, and the report opens
  limbeck run my.toml              the whole; --set pairs.samples=8 overrides
  limbeck refilter builds/my --set clip_pair.min_image=0.8

Exit codes: 0 done; 1 the work failed; 2 the request was wrong."""

app = typer.Typer(
    name="limbeck",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = {
    "Start": {
        "init": start_commands.init,
        "stages": start_commands.stages,
        "doctor": start_commands.doctor,
        "verify": verify_command.verify,
    },
    "Build": {
        "preview": build_commands.preview,
        "estimate": build_commands.estimate,
        "run": build_commands.run,
        "status": look_commands.status,
        "refilter": build_commands.refilter,
    },
    "Look": {
        "report": look_commands.report,
        "row": look_commands.row,
        "calibrate": calibrate_command.calibrate,
    },
    "Distill": {
        "distill": distill_commands.distill,
        "evaluate": distill_commands.evaluate,
        "students": distill_commands.students,
    },
    "Hand on": {
        "export": hand_on_commands.export,
        "publish": publish_commands.publish,
        "deploy": deploy_commands.deploy,
        "train-miniatures": hand_on_commands.train_miniatures,
    },
}
for group, commands in COMMANDS.items():
    for name, function in commands.items():
        app.command(name, rich_help_panel=group)(function)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"limbeck {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_version, is_eager=True, help="Says which limbeck this is."),
    ] = False,
) -> None:
    pass
