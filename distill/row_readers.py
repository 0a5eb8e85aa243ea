"""Rows of a distillation's source, one after the other: of a build, of several in turn, of anything `limbeck.sources` reads.

A reader has `have`, the columns that are there; `named`, for messages; `count`, where it is known; `key`, which changes with
the rows; `lineage`; and `place`, the build's folder where there is one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.lineage import Lineage, of_build, of_source
from limbeck import sources
from limbeck.errors import SourceError
from limbeck.paths import beside
from limbeck.records import is_image
from limbeck.stage import Drop

if TYPE_CHECKING:
    from distill.recipe import DistillRecipe
    from limbeck.recipe import SourceTable


def reader_of(recipe: DistillRecipe) -> Built | Several | Sourced:
    """What reads a recipe's source."""
    source = recipe.source
    if source.build is None or source.stage:
        return Sourced(recipe)
    if source.also:
        return Several(recipe)
    return Built(beside(recipe.folder, source.build), source.limit)


class Built:
    """Rows of a finished build, as published."""

    def __init__(self, place: Path, limit: int | None) -> None:
        from limbeck.built import open_build
        from limbeck.published_rows import Published

        self.place = place
        build = open_build(self.place)
        self._published = Published(self.place)
        self.have = tuple(self._published.schema.names)
        self.sizes = {split: self._published.count(split) for split in self._published.splits}
        self.count = sum(self.sizes.values())
        self._limit = limit
        self.lineage = of_build(build)
        self.named = f"the build {self.lineage.name!r}"
        # what a build published is named by its files: a refilter writes them anew
        self.key = [
            [f.name, f.stat().st_size, f.stat().st_mtime_ns] for s in self._published.splits.values() for f in s
        ]
        self.key = [*self.key, self._limit]

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows with their published split."""
        for split, most in _limited(self.sizes, self._limit).items():
            for row in itertools.islice(self.of_split(split, names), most):
                yield row | {"split": split}

    def of_split(self, split: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of a split; a column that isn't there is None."""
        return self._published.rows(split, ["id", *names]) if split in self.sizes else iter(())


def _limited(sizes: Mapping[str, int], limit: int | None) -> dict[str, int]:
    """Rows to take of each split: all of them, or shares of a limit by the splits' sizes, one at least.

    >>> _limited({"train": 900, "validation": 50, "test": 50}, 100), _limited({"train": 900, "test": 2}, 100)
    ({'train': 90, 'validation': 5, 'test': 5}, {'train': 100, 'test': 1})
    """
    total = sum(sizes.values())
    if limit is None or limit >= total:
        return dict(sizes)
    ends = [round(limit * upto / total) for upto in itertools.accumulate(sizes.values())]
    return {name: max(1, end - start) for name, start, end in zip(sizes, [0, *ends], ends, strict=False)}


class Several:
    """Rows of several builds; in each split they alternate, so that the first thousand hold some of each."""

    def __init__(self, recipe: DistillRecipe) -> None:
        places = (recipe.source.build, *recipe.source.also)
        self.parts = tuple(Built(beside(recipe.folder, place), None) for place in places)
        self.place = None  # no build's folder is that of all
        self.have = tuple(dict.fromkeys(name for part in self.parts for name in part.have))
        self.count = sum(part.count for part in self.parts)
        self._limit = recipe.source.limit
        self.key = ["builds", [[part.lineage.name, part.key] for part in self.parts], self._limit]
        each = [part.lineage for part in self.parts]
        made: dict[str, tuple[str, ...]] = {}
        for lineage in each:
            for model, stages in lineage.models.items():
                made[model] = (*made.get(model, ()), *stages)
        self.lineage = Lineage(
            " and ".join(lineage.name for lineage in each),
            " and ".join(dict.fromkeys(lineage.record for lineage in each)),
            ", ".join(dict.fromkeys(lineage.license for lineage in each)),
            {model: tuple(dict.fromkeys(stages)) for model, stages in made.items()},
            tuple(dict.fromkeys(name for lineage in each for name in lineage.filters)),
            " ".join(lineage.digest for lineage in each),
        )

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows with their published split, their ids made distinct by `@` and their dataset's name in front."""
        sizes = Counter[str]()
        for part in self.parts:
            sizes.update(part.sizes)
        for split, most in _limited(sizes, self._limit).items():
            for row in itertools.islice(self._in_turn(split, names), most):
                yield row | {"split": split}

    def _in_turn(self, split: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        called = _distinct([part.lineage.name for part in self.parts])
        waiting = [(name, part.of_split(split, names)) for name, part in zip(called, self.parts, strict=True)]
        while waiting:
            for name, rows in tuple(waiting):
                row = next(rows, None)
                if row is None:
                    waiting.remove((name, rows))
                else:
                    yield row | {"id": f"{name}@{row['id']}"}


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, those that came before with a number.

    >>> _distinct(["pairs", "scenes", "pairs"])
    ['pairs', 'scenes', 'pairs-2']
    """
    seen = Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


class Sourced:
    """Rows of any other source, by `limbeck.sources`; scenes are drawn."""

    place = None

    def __init__(self, recipe: DistillRecipe) -> None:
        self._recipe, source = recipe, recipe.source
        try:
            fields = sources.fields(source, recipe.folder)
        except SourceError as error:
            error.where = error.where or f"source.{source.kind}"
            raise
        have = {f.name for f in fields}
        self._draws = "scene" in have and not any(is_image(f) for f in fields)
        self.have = (*have, "id", *(["image"] if self._draws else []))
        known = source.storybook.get("rows") if source.storybook is not None else source.limit
        self.count = known if isinstance(known, int) else None
        self.lineage = of_source(source, recipe.folder, have)
        self.named = self.lineage.name
        self.lost: Counter[str] = Counter()  # by reason
        self.key = ["source", source.model_dump(mode="json"), recipe.distill.seed, str(recipe.folder)]
        self.key += _files(source, recipe.folder)

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Usable rows; `split` is the source's own, else nine in ten train and the rest test, by group."""
        from limbeck import seeds

        for row in sources.rows(self._recipe.source, self._recipe.folder, self._recipe.distill.seed):
            if isinstance(row, Drop):
                self.lost[row.reason] += 1
                continue
            if self._draws and "image" in names:
                row["image"] = _drawn(row["scene"])
            if not row.get("split"):
                row["split"] = "train" if seeds.unit("split", str(row.get("group") or row["id"])) < 0.9 else "test"
            yield row


def _files(source: SourceTable, folder: Path) -> list[list[Any]]:
    """Names, sizes and times of the files that a source's rows come from; none of rows from the Hub."""
    named = getattr(source, source.kind)
    found = []
    for path in named.values() if isinstance(named, Mapping) else (named,):
        place = beside(folder, path) if isinstance(path, str) else None
        if place is None or not place.exists():
            continue
        inside = place / "stages" if source.kind == "build" else place  # a teacher's answers lie there too
        for file in [inside] if inside.is_file() else sorted(p for p in inside.rglob("*") if p.is_file()):
            found.append([file.relative_to(place.parent).as_posix(), file.stat().st_size, file.stat().st_mtime_ns])
    return found


def _drawn(scene: str) -> bytes:
    """The picture of a scene, as PNG."""
    from limbeck.pictures import png
    from limbeck.storybook import Scene, render

    return png(render(Scene.from_json(scene)).image)
