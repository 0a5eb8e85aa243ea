"""What a person reads when a build is through: rows in and kept, why others weren't, cost, success, where to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from flows.progress_tally import clock_time
from flows.terminal import fact
from limbeck.built import Build
from limbeck.decisions import ERROR
from limbeck.journal import Spent
from limbeck.outcome import Count
from limbeck.report import truth

_SHOWN = 3
"""Reasons of a stage that fit on a line; the report has them all."""


def summary(built: Build, *, seconds: float | None = None) -> Group:
    """The end of `run`, `preview` and `refilter`.

    Args:
        built: a finished build.
        seconds: how long this run took.
    """
    funnel = built.funnel()
    facts = (fact(name, value) for name, value in _facts(built, funnel, seconds))
    return Group(Text(), headline(built, funnel), Text(), funnel_table(funnel, generators(built)), Text(), *facts)


def headline(built: Build, funnel: list[Count]) -> Text:
    """Kept rows of those judged."""
    kept, judged = funnel[-1].kept, _judged(built, funnel)
    if not judged:
        words = f"no row was made of {funnel[0].rows:,} source row{'s' * (funnel[0].rows != 1)}: each was dropped or failed on the way"
        return Text.assemble((words, "bold yellow"), ("  " + built.recipe.dataset.name, "dim"))
    style = "bold green" if kept else "bold yellow"
    share = f" ({kept / judged:.0%})" if judged else ""
    return Text.assemble((f"{kept:,} of {judged:,} rows kept{share}", style), ("  " + built.recipe.dataset.name, "dim"))


def generators(built: Build) -> set[str]:
    """Ids of the stages that make rows."""
    return {table.id for table in built.recipe.stages if not table.is_filter}


def _judged(built: Build, funnel: list[Count]) -> int:
    """Rows of the last generator, or of the source where nothing is generated."""
    made = [count for count in funnel if count.stage in generators(built)]
    return (made or funnel)[-1 if made else 0].kept


def funnel_table(funnel: list[Count], makers: set[str]) -> Table:
    """One line for each stage: rows in, rows out, and why rows ended."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for count in funnel:
        table.add_row(
            Text(count.stage, style="bold" if count.stage in makers else ""),
            f"{count.rows:,}",
            Text("→", style="dim"),
            f"{count.kept:,}",
            _why(count),
        )
    return table


def _why(count: Count) -> Text:
    words = Text(style="dim")
    if count.dropped:
        reasons = {name: n for name, n in count.reasons.items() if not name.startswith(ERROR) and n}
        words.append(f"{count.dropped:,} dropped: {most_frequent(reasons)}")
    if count.failed:
        words.append("; " if count.dropped else "")
        words.append(f"{count.failed:,} failed", style="yellow")
    return words


def most_frequent(reasons: Mapping[str, int]) -> str:
    """The most frequent reasons in words.

    >>> most_frequent({"copy": 1, "direction_low": 20, "image_low": 3, "blank": 1, "swapped": 1})
    'direction_low 20, image_low 3, copy 1, and 2 others'
    """
    order = sorted(reasons.items(), key=lambda item: -item[1])
    words = [f"{name} {n:,}" for name, n in order[:_SHOWN]]
    more = len(order) - _SHOWN
    return ", ".join(words) + (f", and {more} other{'s' if more > 1 else ''}" if more > 0 else "")


def _facts(built: Build, funnel: list[Count], seconds: float | None) -> Iterator[tuple[str, Text]]:
    if failed := sum(count.failed for count in funnel):
        yield "failed", Text(f"{failed:,} rows; `limbeck run ... --retry-failed` asks for them again", style="yellow")
    if (known := truth.read(built.path / "report" / "truth.json")) is not None:
        yield "edit success", Text(success_words(known))
    cost = cost_words(built.spent(), built.recipe.dataset.currency)
    if cost:
        yield "cost", Text(cost)
    if seconds is not None:
        yield "time", Text(clock_time(seconds))
    yield "look", Text(str(built.path / "report" / "index.html"), style="cyan")
    if funnel[-1].kept:
        yield "load", Text(f'datasets.load_dataset("{built.path}")', style="cyan")


def success_words(known: truth.Truth) -> str:
    """How often the edit really happened and the rest stayed.

    >>> success_words(truth.Truth(before=truth.Success(n=200, right=80), after=truth.Success(n=50, right=40)))
    '40% of 200 pairs before filtering, 80% of the 50 kept'
    """
    words = f"{known.before.share:.0%} of {known.before.n:,} pairs before filtering, "
    words += f"{known.after.share:.0%} of the {known.after.n:,} kept"
    return words + (f" (the judge errs on {known.reader_error:.1%})" if known.reader_error is not None else "")


def cost_words(spent: Mapping[str, Spent], currency: str) -> str:
    """Tokens and money of paid answers; nothing where none were asked.

    >>> cost_words({"write": Spent(answers=2, prompt_tokens=900, completion_tokens=100, cost=None)}, "USD")
    '2 answers, 1,000 tokens, no price in the recipe'
    """
    answers = sum(each.answers for each in spent.values())
    if not answers:
        return ""
    tokens = sum(each.prompt_tokens + each.completion_tokens for each in spent.values())
    amounts = [each.cost for each in spent.values() if each.answers]
    money = "no price in the recipe" if None in amounts else f"{sum(amounts):,.4f} {currency}"
    return f"{answers:,} answers, {tokens:,} tokens, {money}"
