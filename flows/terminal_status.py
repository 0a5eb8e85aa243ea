"""How `limbeck status` looks."""

from __future__ import annotations

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.progress_tally import clock_time
from flows.terminal_summary import cost_words, funnel_table
from limbeck.status import Status


def table(found: Status) -> Group:
    """Parts by stage, the funnel so far, and what it cost."""
    state = ("finished", "bold green") if found.finished else ("not finished", "bold yellow")
    parts = Table.grid(padding=(0, 2))
    for stage, (done, of) in found.parts.items():
        bar = ProgressBar(total=max(of, 1), completed=done, width=24, complete_style="cyan", finished_style="green")
        took = found.seconds.get(stage)
        parts.add_row(
            Text(stage),
            bar,
            f"{done:,}/{of:,} parts",
            Text(f"{clock_time(took)} of computing" if took else "", style="dim"),
        )
    shown = [Text.assemble(state, ("  " + found.name, "dim")), Text(), parts]
    if found.funnel:
        shown += [Text(), funnel_table(found.funnel, set(found.makers))]
    if words := cost_words(found.spent, found.currency):
        shown += [Text(), Text(f"cost  {words}")]
    if not found.finished:
        shown += [Text(), Text("The same `limbeck run` goes on from here.", style="dim")]
    return Group(*shown)
