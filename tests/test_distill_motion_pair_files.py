"""Pairs on disk, when several processes want them at once. Oracles: how often each row was rendered; its own numbers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from distill.motion import pair_files
from distill.motion.pairs import Pair


class Rows:
    """Ten rows, as far as pairs need to know a dataset."""

    digest = "abc"

    def __len__(self):
        return 10

    def rows(self, positions):
        return [{"id": p} for p in positions]


@pytest.fixture
def rendered(monkeypatch):
    """Ids of rows, as often as they were rendered; a row's pair says its id."""
    found = []

    def pair_of(row):
        found.append(row["id"])
        frames = np.full((2, 3, 4, 4), row["id"])
        return Pair(frames.astype(np.uint16), frames.astype(np.uint8), frames.astype(np.uint16), np.ones((4, 4), bool))

    monkeypatch.setattr(pair_files, "pair_of", pair_of)
    monkeypatch.setattr(pair_files, "PART_ROWS", 4)
    return found


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("array", ["light", "still"])
def test_each_part_is_rendered_by_one_process_and_the_others_wait(tmp_path, monkeypatch, rendered, array, lazily):
    """Another process comes by while the first one has half a part on disk, as each of several ranks does."""
    first, second = (pair_files.PairFiles(Rows(), tmp_path) for _ in range(2))
    failed = []

    def passes_by():
        try:
            second[0] if lazily else second.prepare(range(10))
        except Exception as error:
            failed.append(error)

    other, real = threading.Thread(target=passes_by, daemon=True), np.save

    def save(path, value):
        if path.stem == array and not other.ident:
            other.start()
            other.join(0.5)  # time enough to render everything, unless it waits
        real(path, value)

    monkeypatch.setattr(pair_files.np, "save", save)
    first.prepare(range(10))
    other.join(30)
    assert not other.is_alive()
    assert failed == []
    assert sorted(rendered) == list(range(10))
    for files in (first, second):
        assert [int(files[p].recorded[0, 0, 0, 0]) for p in range(10)] == list(range(10))
    assert not list(tmp_path.rglob("*.tmp"))
