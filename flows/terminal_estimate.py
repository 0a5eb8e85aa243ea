"""How `limbeck estimate` looks."""

from __future__ import annotations

import math
from collections.abc import Callable

from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.progress_tally import clock_time
from limbeck.estimate import Amount, Estimate


def table(found: Estimate) -> Group:
    """Each quantity with its interval, where the time goes, and what the figures don't know."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(justify="right", style="bold")
    grid.add_column(style="dim")
    for name, amount, words in (
        ("time", found.seconds, clock_time),
        ("kept rows", found.kept, _number),
        ("disk", found.bytes, size),
        ("prompt tokens", found.prompt_tokens, _number),
        ("written tokens", found.completion_tokens, _number),
        ("cost", found.cost, lambda value: f"{value:,.2f} {found.currency}"),
    ):
        if amount is not None:
            grid.add_row(name, words(amount.value), interval(amount, words))
    if found.prompt_tokens and found.cost is None:
        grid.add_row("cost", "unknown", "the recipe gives no price_in and price_out")
    shares = ", ".join(
        f"{stage} {share:.0%}" for stage, share in sorted(found.stage_share.items(), key=lambda s: -s[1])
    )
    head = Text.assemble((f"{found.rows:,} source rows", "bold"), (f", from {found.measured} measured", "dim"))
    tail = [Text(f"where the time goes: {shares}; loading models {clock_time(found.loading_s)}", style="dim")]
    return Group(
        Text(), head, Text(), grid, Text(), *tail, *(Text(f"but {caveat}", style="yellow") for caveat in found.caveats)
    )


def interval(amount: Amount, words: Callable[[float], str]) -> str:
    """The interval in words.

    >>> interval(Amount(90.0, 60.0, 120.0), clock_time), interval(Amount(1.0, math.nan, math.nan), str)
    ('1:00 to 2:00', 'too little measured to say how sure')
    """
    if math.isnan(amount.low):
        return "too little measured to say how sure"
    return f"{words(amount.low)} to {words(amount.high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}"


def size(count: float) -> str:
    """Bytes as people say them.

    >>> size(512), size(1.5e6), size(3.2e11)
    ('512 B', '1.5 MB', '320 GB')
    """
    units = ["B", "kB", "MB", "GB", "TB"]
    power = min(int(math.log10(max(count, 1)) // 3), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"
