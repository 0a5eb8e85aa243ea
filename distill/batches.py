"""Which rows a step sees, and as what: a function of seed and step, of nothing that came before.

    pools    labelled and unlabelled training rows, development and test rows
    stream   an endless walk through a pool, shuffled anew each time round
    batch    step t takes the next rows of each stream; a process takes its share of them, in micro-batches

A resumed training, another number of processes or another micro-batch therefore sees the same rows under the same
views with the same random numbers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.arm_names import Arm
from distill.student import Batch, Item, Student
from distill.views import View
from limbeck import seeds
from limbeck.errors import RequestError

if TYPE_CHECKING:
    from distill.dataset import Dataset
    from distill.recipe import DistillRecipe
    from distill.work import Work

DEV_SHARE = 0.05
"""Of the training groups, held back where a dataset has no development split."""
Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Pools:
    """Positions of the dataset's rows by what they may be used for; no row is in two."""

    labelled: Positions
    unlabelled: Positions
    dev: Positions
    test: Positions

    @property
    def train(self) -> Positions:
        """Rows that are trained on at all."""
        return np.concatenate([self.labelled, self.unlabelled])


def held_out(dataset: Dataset, recipe: DistillRecipe) -> tuple[Positions, Positions, Positions]:
    """Training, development and test rows, before budgets of labels.

    Where there are more rows to be judged by than are wanted, it is drawn which; both of a `pair_id` come or neither.

    Raises:
        RequestError: the dataset has no row in a split that is needed.
    """
    wanted = recipe.evaluate
    train, dev, test, _ = parted(dataset, recipe)
    if not len(train) or not len(dev):
        raise RequestError(
            f"{dataset.lineage.name} has {len(train)} rows to train on and {len(dev)} to look at",
            expected="some of both, in the split `train`",
            where=f"source.{recipe.source.kind}",
        )
    return train, drawn(dataset, dev, wanted.dev_rows), drawn(dataset, test, wanted.test_rows)


def parted(dataset: Dataset, recipe: DistillRecipe) -> tuple[Positions, Positions, Positions, int]:
    """All rows of the three splits, and how many were left out because a row of their group is to be judged by.

    Raises:
        RequestError: there is no test split.
    """
    wanted, splits = recipe.evaluate, dict(dataset.splits)
    if wanted.test_split not in splits:
        raise RequestError(
            f"{dataset.lineage.name} has no split {wanted.test_split!r}; it has {', '.join(splits)}",
            expected="rows that were held out",
            where="evaluate.test_split",
            remedy="build it with splits = { train = 0.9, test = 0.1 }, or name another",
        )
    test = splits.pop(wanted.test_split)
    dev = splits.pop(wanted.dev_split, None)
    whole = splits.get("train", np.zeros(0, np.int64))
    train = _without(dataset, whole, test)
    if dev is None:
        back = np.array([seeds.unit("dev", dataset.groups[p]) < DEV_SHARE for p in train], bool)
        return train[~back], train[back], test, len(whole) - len(train)
    seen = _without(dataset, dev, test)
    train = _without(dataset, train, seen)
    return train, seen, test, len(whole) + len(dev) - len(train) - len(seen)


def _without(dataset: Dataset, positions: Positions, others: Positions) -> Positions:
    """Those that share no group with the others."""
    taken = {dataset.groups[p] for p in others}
    return np.array([p for p in positions if dataset.groups[p] not in taken], np.int64)


def drawn(dataset: Dataset, positions: Positions, most: int | None) -> Positions:
    """So many of them, whatever order the rows are in: a folder of pictures is sorted by class."""
    if most is None or most >= len(positions):
        return positions
    pairs = list(dataset.values("pair_id")) if "pair_id" in dataset.columns else [None] * len(dataset.ids)
    order = sorted(positions, key=lambda p: (seeds.unit("held out", pairs[p] or dataset.ids[p]), p))
    return np.array(sorted(order[:most]), np.int64)


def pools(dataset: Dataset, recipe: DistillRecipe, seed: int) -> Pools:
    """Deals the training rows out. Which of them are labelled depends on the seed, so that it enters the spread.

    Raises:
        RequestError: there are fewer rows than the budget asks for.
    """
    train, dev, test = held_out(dataset, recipe)
    order = sorted(train, key=lambda p: seeds.unit("labelled", str(seed), dataset.ids[p]))
    labelled = len(order) if recipe.budget.labelled is None else recipe.budget.labelled
    rest = max(0, len(order) - labelled) if recipe.budget.unlabelled is None else recipe.budget.unlabelled
    if labelled + rest > len(order):
        raise RequestError(
            f"{labelled:,} labelled and {rest:,} unlabelled rows are asked for, and {len(order):,} are there",
            where="budget",
            remedy="take fewer, or more rows in [source]",
        )
    chosen = np.array(order[: labelled + rest], np.int64)
    return Pools(chosen[:labelled], chosen[labelled:], dev, test)


def _families(keys: Sequence[Hashable]) -> list[Positions]:
    """Places of each key; a place without one is a family of its own.

    >>> [family.tolist() for family in _families(["a", None, "b", "a", None])]
    [[0, 3], [1], [2], [4]]
    """
    found: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        found.setdefault((i,) if key is None else (key, "key"), []).append(i)
    return [np.array(places, np.int64) for places in found.values()]


class Stream:
    """An endless walk through a pool, in an order that seed and lap decide."""

    def __init__(
        self, pool: Positions, seed: int, name: str, keys: Sequence[Hashable] | None = None, most: int = 1
    ) -> None:
        """`name` keeps the orders of two streams of one seed apart.

        Of places with one key in `keys`, up to `most` follow each other.
        """
        self.pool = pool
        families = None if keys is None else _families(keys)

        def order(lap: int) -> Positions:
            rng = seeds.rng(seed, "order", name, lap)
            if families is None:
                return rng.permutation(len(pool))
            mixed = map(rng.permutation, families)
            parts = [family[i : i + most] for family in mixed for i in range(0, len(family), most)]
            return np.concatenate([parts[i] for i in rng.permutation(len(parts))])

        self._order = lru_cache(maxsize=4)(order)

    def __getitem__(self, n: int) -> int:
        """Position in the dataset of the n-th row of the walk."""
        lap, at = divmod(n, len(self.pool))
        return int(self.pool[self._order(lap)[at]])


class Batches:
    """The batches of one training of one arm in one phase.

    Attributes:
        epoch_steps: steps that are one walk through the longer of the streams.
    """

    def __init__(self, work: Work, arm: Arm, found: Pools, phase: str, batch_size: int, micro: int | None) -> None:
        """Sets the streams up; rows that the phase doesn't take are left out."""
        self._work, self._arm, self._phase = work, arm, phase
        self._size, self._micro = batch_size, micro
        labelled, labelled_keys = self._dealt(found.labelled)
        if not len(labelled):
            raise RequestError(f"no labelled row is of use in the phase {phase!r}", where="source")
        unlabelled, unlabelled_keys = self._dealt(found.unlabelled if arm.taught else found.unlabelled[:0])
        both = len(unlabelled)
        share = work.recipe.budget.labelled_share
        self._labelled_rows = max(round(batch_size * share), share > 0) if both else batch_size
        most = work.student.gathers
        self._labelled = Stream(labelled, work.seed, f"{phase} labelled", labelled_keys, most)
        self._unlabelled = Stream(unlabelled, work.seed, f"{phase} unlabelled", unlabelled_keys, most) if both else None
        self.epoch_steps = max(
            -(-len(labelled) // max(1, self._labelled_rows)),
            -(-len(unlabelled) // max(1, batch_size - self._labelled_rows)) if both else 0,
        )
        self._sham = self._swapped(found.train) if arm.sham else None
        if arm.sham and not self._sham:
            raise RequestError(
                f"none of {len(found.train)} training rows can have another's target",
                expected="two or more of a kind for the arm 'sham'",
                where="source",
                remedy="take more rows, or leave the arm out",
            )

    def _dealt(self, pool: Positions) -> tuple[Positions, list[Hashable] | None]:
        """Rows as often as the student takes them, and what each has in common with others, where any are gathered.

        Of `Student.together` only hashes are kept: it may be as long as pictures.
        """
        student, phase = self._work.student, self._phase
        takes_all = type(student).takes is Student.takes
        gathers = student.gathers > 1
        if takes_all and not gathers:
            return pool, None
        times, keys = np.ones(len(pool), int), []
        for i, row in enumerate(self._work.dataset.walk(pool, student.dealt_by)):
            if not takes_all:
                times[i] = int(student.takes(row, phase))
            if gathers:
                key = student.together(row)
                keys += [None if key is None else hash(key)] * times[i]
        return np.repeat(pool, times), keys if gathers else None

    def _swapped(self, pool: Positions) -> dict[int, int]:
        """The sham teacher's targets, within each kind of rows that the student calls exchangeable."""
        student, dataset = self._work.student, self._work.dataset
        if type(student).exchangeable is Student.exchangeable:
            return sham(pool, self._work.seed)
        kinds: dict[Hashable, list[int]] = {}
        for p in pool:
            kinds.setdefault(student.exchangeable(dataset.row(p)), []).append(int(p))
        return {a: b for kind in kinds.values() for a, b in sham(np.array(kind), self._work.seed).items()}

    def positions(self, step: int) -> list[tuple[int, bool]]:
        """Rows of a step, each with whether its label may be seen; labelled and unlabelled ones interleaved."""
        first, rest = self._labelled_rows, self._size - self._labelled_rows
        labelled = [(self._labelled[step * first + i], True) for i in range(first)]
        if self._unlabelled is None:
            return labelled
        others = [(self._unlabelled[step * rest + i], False) for i in range(rest)]
        order = np.argsort(
            [*(i / max(1, first) for i in range(first)), *(i / max(1, rest) for i in range(rest))], kind="stable"
        )
        return [(labelled + others)[i] for i in order]

    def ids(self, step: int) -> list[str]:
        """Ids of a step's rows."""
        return [self._work.dataset.ids[p] for p, _ in self.positions(step)]

    def micro_batches(self, step: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """Tensors of a step for one of `world` processes."""
        whole = self.positions(step)
        mine = range(rank * len(whole) // world, (rank + 1) * len(whole) // world)
        items = [self._item(step, place, *whole[place]) for place in mine]
        size = self._micro or max(1, len(items))
        if size < len(items) and self._work.student.gathers == 1:
            items.sort(key=lambda item: self._work.student.length(item.row))  # stable: by default as they came
        return [
            self._work.student.batch(items[i : i + size], self._phase, self._work) for i in range(0, len(items), size)
        ]

    def _item(self, step: int, place: int, position: int, labelled: bool) -> Item:
        work, rng = self._work, seeds.rng(self._work.seed, f"item {self._phase}", str(step), place)
        row_id, cache, view, target = work.dataset.ids[position], work.cache, View(), None
        if cache is not None and (views := cache.views(row_id)):
            number = int(rng.integers(views))
            view = cache.view(row_id, number)
            if self._arm.taught:
                other = position if self._sham is None else self._sham.get(position)
                if other is not None:
                    other_id = work.dataset.ids[other]
                    target = cache.target(other_id, min(number, cache.views(other_id) - 1))
        return Item(work.dataset.row(position), target, view, labelled, rng)


def sham(pool: Positions, seed: int) -> dict[int, int]:
    """Each row to another row of the pool: targets of the sham teacher; nobody has their own, and a lone row has none.

    >>> found = sham(np.arange(5), 0)
    >>> sorted(found.values()), any(a == b for a, b in found.items()), sham(np.array([7]), 0)
    ([0, 1, 2, 3, 4], False, {})
    """
    order = seeds.rng(seed, "sham", "teacher").permutation(len(pool))
    return {int(pool[a]): int(pool[b]) for a, b in zip(order, np.roll(order, 1), strict=True) if a != b}


class Prepared:
    """Micro-batches of steps first, first + 1, ..., prepared in worker processes where there are some."""

    def __init__(self, batches: Any, first: int, steps: int, rank: int, world: int, workers: int) -> None:
        """`batches` is anything with `micro_batches(step, rank, world)`."""
        self._batches, self._range, self._rank, self._world = batches, range(first, steps), rank, world
        self._workers = workers

    def __len__(self) -> int:
        return len(self._range)

    def __getitem__(self, n: int) -> list[Batch]:
        return self._batches.micro_batches(self._range[n], self._rank, self._world)

    def __iter__(self) -> Iterator[list[Batch]]:
        if not self._workers:
            return (self[n] for n in range(len(self)))
        from torch.utils.data import DataLoader

        return iter(DataLoader(self, batch_size=None, shuffle=False, num_workers=self._workers, prefetch_factor=4))  # type: ignore[arg-type]
