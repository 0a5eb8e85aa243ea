"""The journal: what was answered is there after a crash, counted once. Oracle: by hand."""

import asyncio
import errno
import os
import time

import pytest

from limbeck import journal as journals
from limbeck.errors import DiskFull
from limbeck.journal import Journal, Spent
from limbeck.models.roles import ChatAnswer, Usage


def answer(text, cost=0.5):
    return ChatAnswer(text, "stop", Usage(10, 5, cost), "m")


async def keep(journal, *texts, stage="write"):
    await asyncio.gather(
        *(journal.add(Journal.key(t), answer(t), stage=stage, row_id=t, draw=0, attempt=0) for t in texts)
    )


def test_answers_come_back_and_are_counted_once(tmp_path):
    first = Journal(tmp_path)
    asyncio.run(keep(first, "a", "b"))
    assert first.get(Journal.key("a")) == answer("a")
    first.close()
    again = Journal(tmp_path)
    assert again.get(Journal.key("b")) == answer("b")
    assert again.get(Journal.key("c")) is None
    assert again.spent["write"] == Spent(2, 20, 10, 1.0)
    asyncio.run(keep(again, "c"))
    assert Journal(tmp_path).spent["write"].answers == 3


def test_a_torn_last_line_is_ignored_and_the_rest_is_kept(tmp_path):
    journal = Journal(tmp_path)
    asyncio.run(keep(journal, "a", "b"))
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-7])
    again = Journal(tmp_path)
    assert again.get(Journal.key("a")) == answer("a")
    assert again.get(Journal.key("b")) is None


def test_an_unknown_price_makes_the_sum_unknown(tmp_path):
    journal = Journal(tmp_path)
    line = {"stage": "s", "row_id": "r", "draw": 0, "attempt": 0}
    asyncio.run(journal.add("k" * 32, answer("x", cost=None), **line))
    assert journal.spent["s"].cost is None


def test_other_processes_answers_are_seen_after_a_refresh(tmp_path):
    mine, theirs = Journal(tmp_path), Journal(tmp_path)
    asyncio.run(keep(theirs, "a"))
    assert mine.get(Journal.key("a")) is None
    mine.refresh()
    assert mine.get(Journal.key("a")) == answer("a")
    mine.refresh()
    assert mine.spent["write"].answers == 1


def test_it_is_on_disk_before_the_answer_is_used(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(journals.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))

    async def use():
        journal = Journal(tmp_path)
        await keep(journal, "a")
        return synced[-1], journal._path.stat().st_size

    before, size = asyncio.run(use())
    assert before == size > 0


def test_many_answers_share_a_sync_and_none_waits_long(tmp_path, monkeypatch):
    syncs = []
    monkeypatch.setattr(journals.os, "fsync", lambda handle: syncs.append(time.perf_counter()))
    start = time.perf_counter()
    asyncio.run(keep(Journal(tmp_path), *map(str, range(640))))
    assert 1 <= len(syncs) <= 20  # 64 answers or 20 ms, whichever comes first
    assert syncs[0] - start < 5


def test_a_full_disk_stops_the_answer_from_being_used(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journals.os, "fsync", full)
    with pytest.raises(DiskFull):
        asyncio.run(keep(Journal(tmp_path), "a"))


def test_every_part_of_a_call_is_in_its_key():
    call = ["http://host/v1", "m", [{"role": "user", "content": "hi"}], {"schema": {"a": 1}, "seed": 3}, "s", "r", 0, 0]
    keys = {Journal.key(*call)}
    for i, other in enumerate(["http://b/v1", "n", [], {"schema": {"a": 2}, "seed": 3}, "t", "q", 1, 1]):
        keys.add(Journal.key(*call[:i], other, *call[i + 1 :]))
    assert len(keys) == 9
