"""In how many steps an editor is right how often: the figures beside those of a report, for any split and any steps.

    python -m benchmarks.editor_steps recipes/distill-editor.toml builds/storybook-editor-steps --split test --steps 2 4 10

Takes the judge of a recipe, rows of a split as an evaluation draws them, and the student of its finished folder, or any
editors named with `--editors`. Prints a line for each editor and number of steps.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from distill import batches, opening
from distill.editing import curves
from distill.progress import Watcher
from distill.recipe import load
from limbeck.models.edit_diffusers import DiffusersEditModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("out", type=Path, help="the folder that `limbeck distill` wrote")
    parser.add_argument("--editors", nargs="+", type=Path, help="folders of pipelines; by default that of the student")
    parser.add_argument("--split", default="test")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 4, 8, 10, 20, 100])
    given = parser.parse_args()
    recipe = load(given.recipe)
    work = opening.work_of(recipe, given.out, "auto", Watcher())
    positions = batches.drawn(work.dataset, work.dataset.splits[given.split], given.rows)
    rows, size = work.dataset.rows(positions), recipe.student.side(work)
    print(f"{len(rows)} rows of {given.split}")
    for folder in given.editors or [given.out / "student"]:
        editor = DiffusersEditModel.load(str(folder))
        for point in curves.curve(editor, rows, work.judge(), size, curves.over_steps(editor.asked, given.steps)):
            print(f"{folder}", {name: round(value, 3) for name, value in point.items()}, flush=True)


if __name__ == "__main__":
    main()
