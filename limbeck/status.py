"""How far a build is: read from its manifests and scores, while others may still work on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.built import Build
from limbeck.outcome import Count, evaluate


@dataclass(frozen=True)
class Status:
    """A build's state.

    Attributes:
        finished: whether `data/` is there and complete.
        makers: stages that make rows; the others judge them.
        parts: stage to (parts done, parts in all), for stages that compute something.
        funnel: rows in, kept, dropped and failed by stage, over the parts that are through every stage so far.
        splits: kept rows by split, once finished.
        spent: paid answers, tokens and cost by stage, over all runs; a cost is None where a price is unknown.
        seconds: of computing, by stage.
    """

    path: str
    name: str
    finished: bool
    makers: tuple[str, ...]
    parts: dict[str, tuple[int, int]]
    funnel: list[Count]
    splits: dict[str, int] = field(default_factory=dict)
    spent: dict[str, Any] = field(default_factory=dict)
    currency: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def status(path: str | Path) -> Status:
    """Looks at a build.

    Raises:
        BuildNotFound: the folder holds none.
    """
    built = Build(Path(path))
    through = [part for part, end in built.ends.items() if end is None]
    if built.finished:
        funnel = built.funnel()
    elif through:
        funnel = evaluate(built.recipe.stages, built.folder, through, built.inactive).funnel()
    else:
        funnel = []
    return Status(
        path=str(path),
        name=built.recipe.dataset.name,
        finished=built.finished,
        makers=tuple(table.id for table in built.recipe.stages if not table.is_filter),
        parts=built.progress(),
        funnel=funnel,
        splits=built.splits(),
        spent=built.spent(),
        currency=built.recipe.dataset.currency,
        seconds={stage: counted.get("seconds", 0.0) for stage, counted in built.counters().items()},
    )
