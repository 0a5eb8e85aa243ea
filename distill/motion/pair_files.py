"""Pairs on disk: each row's is rendered once, in parts that are mapped, and read by worker processes alike.

    pairs/KEY/part-00003/light.npy  recorded.npy  magnified.npy  still.npy  done.json

A part is some rows in the dataset's order; it counts when `done.json` is there, which is written last. KEY changes with
any row, and with the version of what is rendered. One process renders at a time; whoever waited finds it done.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.motion.pairs import Pair, pair_of
from distill.processes import one_at_a_time
from limbeck.errors import RequestError
from limbeck.store import disk_errors

if TYPE_CHECKING:
    from distill.dataset import Dataset

VERSION = 1
"""Raised when the same row becomes another pair."""
PART_ROWS = 64
_ARRAYS = ("light", "recorded", "magnified", "still")
log = logging.getLogger(__name__)


class PairFiles:
    """Pairs by the position of their row; what isn't there yet is rendered when it is asked for.

    All pairs are of one size and number of gains.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        """Opens or starts `folder/KEY`."""
        key = hashlib.blake2b(f"{VERSION} {dataset.digest}".encode(), digest_size=8).hexdigest()
        self.folder = folder / key
        self._dataset = dataset
        self._parts: dict[int, dict[str, NDArray[Any]]] = {}

    def prepare(self, positions: Sequence[int] | NDArray[np.int64]) -> None:
        """Renders the parts of these rows that aren't there.

        Raises:
            RequestError: a row can't be rendered, or is of another size than the others.
            DiskFull: what is done stays done.
        """
        wanted = sorted({int(p) // PART_ROWS for p in positions})
        todo = [part for part in wanted if not self._done(part)]
        for n, part in enumerate(todo):
            log.info("pairs: part %d of %d, %d rows each", n + 1, len(todo), PART_ROWS)
            self._make(part)

    def __getitem__(self, position: int) -> Pair:
        """A row's pair, its arrays mapped."""
        part, at = divmod(int(position), PART_ROWS)
        found = self._opened(part)
        light = found["light"][at] if len(found["light"]) else None
        return Pair(light, found["recorded"][at], found["magnified"][at], found["still"][at])

    def _opened(self, part: int) -> dict[str, NDArray[Any]]:
        if part not in self._parts:
            if not self._done(part):
                self._make(part)
            place = self._place(part)
            self._parts[part] = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        return self._parts[part]

    def _place(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}"

    def _done(self, part: int) -> bool:
        return (self._place(part) / "done.json").is_file()

    def _make(self, part: int) -> None:
        """Renders a part, or waits for the process that does."""
        with disk_errors(self.folder), one_at_a_time(self.folder, "pairs"):
            if not self._done(part):
                self._render(part)

    def _render(self, part: int) -> None:
        """Renders a part aside, then puts it in its place."""
        rows = self._dataset.rows(range(part * PART_ROWS, min(len(self._dataset), (part + 1) * PART_ROWS)))
        pairs = [pair_of(row) for row in rows]
        kinds = {(pair.recorded.shape, pair.magnified.shape, pair.light is None) for pair in pairs}
        if len(kinds) != 1:
            sizes = sorted({(*kind[0][-2:], kind[1][0]) for kind in kinds})
            raise RequestError(
                f"clips of {len(sizes)} kinds (height, width, gains): {sizes}", expected="one size and number of gains",
                where=self._dataset.lineage.name, remedy="build clips of one size with as many gains each",
            )  # fmt: skip
        light = [] if pairs[0].light is None else [pair.light for pair in pairs]
        arrays = {
            "light": np.stack(light) if light else np.zeros((0,), np.uint16),
            "recorded": np.stack([pair.recorded for pair in pairs]),
            "magnified": np.stack([pair.magnified for pair in pairs]),
            "still": np.stack([pair.still for pair in pairs]),
        }
        place = self._place(part)
        aside = place.with_suffix(".tmp")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)
        aside.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array)
        (aside / "done.json").write_text(json.dumps({"rows": len(rows)}))
        aside.replace(place)
