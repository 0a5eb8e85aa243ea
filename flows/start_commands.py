"""`init`, `stages`, `doctor`: what one does first."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.command_options import AsJson
from flows.terminal import fact, results, write_json
from limbeck import catalog
from limbeck.describe import Description, Setting, describe
from limbeck.doctor import Finding, examine

_MARKS = {"good": ("✓", "green"), "note": ("•", "yellow"), "missing": ("✗", "red")}


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write.")] = Path("recipe.toml"),
    force: Annotated[bool, typer.Option("--force", metavar="", help="Writes over a file that is there.")] = False,
) -> None:
    """Write a recipe to start from.

    It runs as it stands, and its comments say what else could stand there.
    """
    from limbeck.starter import write_starter

    path = write_starter(file, force=force)
    results().print(fact("wrote", Text(str(path), style="cyan")))
    results().print(fact("next", Text(f"limbeck preview {shlex.quote(str(path))}", style="cyan")))


def stages(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Stages to describe in full; all in short by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every stage with its settings.

    A NAME tells all about one; FILE.py:CLASS is a stage of your own.
    """
    classes = [catalog.stage_class(name, Path.cwd()) for name in names] if names else catalog.available().values()
    described = [describe(cls) for cls in classes]
    if as_json:
        write_json([asdict(each) for each in described])
        return
    console = results()
    for kind, title in (("generator", "Generators make rows"), ("filter", "Filters judge them")):
        found = [each for each in described if each.kind == kind]
        if found and not names:
            console.print(Text(f"\n{title}", style="bold"))
        for each in found:
            console.print(_in_full(each) if names else _in_short(each))
    if not names:
        console.print(Text("\nlimbeck stages NAME tells all about one.", style="dim"))


def _in_short(each: Description) -> Group:
    own = [setting for setting in each.settings if "." not in setting.name]  # those of tables come in full
    settings = Text(", ", style="dim").join(_with_default(setting) for setting in own)
    return Group(Text.assemble("\n  ", (each.name, "bold cyan"), "  ", each.summary), Padding(settings, (0, 0, 0, 4)))


def _with_default(setting: Setting) -> Text:
    if setting.default is None:
        return Text.assemble(setting.name, (" (has to be given)", "yellow"))
    return Text.assemble(setting.name, (f" = {setting.default}", "dim"))


def _in_full(each: Description) -> Group:
    facts = Table.grid(padding=(0, 2))
    for name, words in (("reads", each.reads), ("writes", each.writes), ("drops for", each.reasons)):
        if words:
            facts.add_row(Text(name, style="dim"), ", ".join(words))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("setting", "default", "what it is"):
        table.add_column(title, no_wrap=title == "setting")
    for setting in each.settings:
        about = Text(setting.doc[:1].upper() + setting.doc[1:])
        about.append(" " * bool(about) + _marks(setting), style="dim")
        table.add_row(Text(setting.name, style="cyan"), setting.default or Text("none", style="yellow"), about)
    head = Text.assemble("\n", (each.name, "bold cyan"), (f"  {each.kind}", "dim"))
    prose = "\n\n".join(" ".join(paragraph.split()) for paragraph in each.doc.split("\n\n"))
    tail = Text("\nThresholds are what `limbeck refilter` changes, without a new run.", style="dim")
    return Group(head, Text(f"\n{prose}\n"), facts, Text(), table, *([tail] if each.kind == "filter" else []))


def _marks(setting: Setting) -> str:
    words = [setting.type]
    if setting.default is None:
        words.append("has to be given")
    if setting.role:
        words.append(f"names a {setting.role} model of [models]")
    if setting.decides:
        words.append("a threshold")
    return f"({'; '.join(words)})"


def doctor(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="Looks at what this recipe needs, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what this machine can run, and what is missing.

    Nothing is changed, no secret is shown. With a RECIPE, its models are looked for too.
    """
    from limbeck.recipe import load

    findings = [*examine(load(recipe) if recipe else None), _prefect()]
    if as_json:
        write_json([asdict(each) for each in findings])
    else:
        table = Table.grid(padding=(0, 2))
        for each in findings:
            mark, style = _MARKS[each.state]
            words = Text(each.found)
            if each.remedy and each.state != "good":
                words.append(f"\n{each.remedy}", style=style)
            table.add_row(Text(mark, style=style), Text(each.topic, style="bold"), words)
        results().print(table)
    if any(each.state == "missing" for each in findings):
        raise typer.Exit(1)


def _prefect() -> Finding:
    """Which Prefect API flows would talk to; a server that is configured has to answer."""
    import urllib.request

    from flows.prefect_api import configured, home

    url = configured()
    if url is None:
        return Finding("Prefect", "good", f"no server configured: a temporary one for each run, its files in {home()}")
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return Finding("Prefect", "good", f"{url} answers")
    except OSError as error:
        remedy = "start it, unset PREFECT_API_URL, or run with --direct"
        return Finding("Prefect", "missing", f"{url} doesn't answer: {getattr(error, 'reason', error)}", remedy)
