"""`calibrate`: how many errors a recipe's filter finds that were put in on purpose."""

from __future__ import annotations

import random
from typing import Annotated, Any

import typer
from rich.text import Text

from flows.command_options import RecipeFile, Sets
from flows.terminal import fact, results


def calibrate(
    recipe: RecipeFile,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A filter of conversations, such as judge.")],
    rows: Annotated[
        int, typer.Option("--rows", "-n", min=1, metavar="N", help="Rows to spoil, and as many good ones.")
    ] = 100,
    sets: Sets = [],  # noqa: B006
) -> None:
    """Measure a filter of conversations.

    Spoils true answers about storybook scenes and says how many errors the recipe's filter finds.
    A judge's calls are paid.
    """
    from limbeck.calibration import measured
    from limbeck.recipe import load

    loaded = load(recipe, sets=sets)
    good, spoilt = _rows(rows, tuple(loaded.dataset.languages), loaded.dataset.seed)
    found = measured(loaded, stage, good, spoilt)
    console = results()
    console.print(fact("finds", Text(str(found).removeprefix("finds "))))
    console.print(fact("precision", Text(f"{found.precision:.1%} where half of the rows are spoilt")))


def _rows(count: int, languages: tuple[str, ...], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """True rows in full sentences, and the same with one error each."""
    from generators.visual_questions import VisualQuestions
    from limbeck import seeds
    from limbeck.questions.injected import inject
    from limbeck.stage import Drop
    from limbeck.storybook.source import rows as scenes

    known = [language for language in languages if language in ("en", "ko")] or ["en"]
    stage = VisualQuestions(forms={"sentence": 1}, languages=dict.fromkeys(known, 1.0), minimal_pairs=0)

    class _Seeds:
        stage_id = "calibrate"

        def seed(self, row_id: str, draw: int = 0) -> int:
            return seeds.seed(seed, self.stage_id, row_id, draw)

    made = [
        row for row in stage.generate(list(scenes(count, seed, split="test")), _Seeds()) if not isinstance(row, Drop)
    ]
    rng = random.Random(seed)
    rng.shuffle(made)
    pairs = [(row, found[1]) for row in made if (found := inject(row, rng, made)) and found[1]][:count]
    return [row for row, _ in pairs], [bad for _, bad in pairs]
