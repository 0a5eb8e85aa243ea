"""A teacher's answers on disk. Oracles: what the toy teacher says when asked directly; files on disk; who was asked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_student import ToyTeacher, features, toy_student_recipe

from distill import teacher_cache
from distill.dataset import open_dataset
from distill.distilling import distill
from distill.evaluating import evaluate_student
from distill.recipe import load
from distill.teacher import array, encoded, ragged
from distill.teacher_cache import CacheMismatch, ask
from distill.views import View, ViewsTable
from limbeck import store

PRINT = {"weights": "a", "preprocessing": "p", "tokenizer": "t", "dtype": "float32"}


@pytest.fixture
def dataset(tmp_path):
    return open_dataset(load(toy_student_recipe(tmp_path, rows=40)), tmp_path / "out")


@pytest.fixture(autouse=True)
def nobody_asked():
    ToyTeacher.asked.clear()
    ToyTeacher.loaded.clear()


def whole(position):
    return [View()]


def test_answers_come_back_as_they_were_given(dataset, tmp_path):
    cache = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, ["one", "three"], part_rows=16)
    for p in range(len(dataset)):
        row = dataset.row(p)
        target = cache.target(row["id"])
        assert target["answer"][0] == pytest.approx(2 * features(row).sum(), abs=1e-5)
        assert target["long"].shape == (int(abs(features(row)[0])), 2)
    assert cache.states(["three", "one"]).tolist() == [[5, 1], [3, 1]]
    assert cache.facts == {"parameters": 200}


def test_nobody_is_in_memory_afterwards_and_nobody_is_asked_twice(dataset, tmp_path):
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, ["one"])
    assert ToyTeacher.loaded == []
    assert len(ToyTeacher.asked) == 40
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, ["one"])
    assert len(ToyTeacher.asked) == 40


def test_a_killed_run_goes_on_with_the_next_part(dataset, tmp_path):
    class Dies(ToyTeacher):
        def targets(self, rows, views):
            if len(self.asked) >= 20:
                raise KeyboardInterrupt
            return super().targets(rows, views)

    with pytest.raises(KeyboardInterrupt):
        ask(dataset, Dies(PRINT), tmp_path / "c", whole, part_rows=10)
    assert store.done_parts(tmp_path / "c" / "targets") == [0, 1]
    assert ToyTeacher.loaded == []
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, part_rows=10)
    assert sorted(ToyTeacher.asked) == sorted(dataset.ids)  # each once


@pytest.mark.parametrize("part", list(PRINT))
def test_another_teachers_folder_is_refused_and_says_what_differs(dataset, tmp_path, part):
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    before = (tmp_path / "c" / "targets" / "part-00000.parquet").read_bytes()
    with pytest.raises(CacheMismatch, match=f"{part} differ") as error:
        ask(dataset, ToyTeacher(PRINT | {part: "other"}), tmp_path / "c", whole)
    assert error.value.differs == (part,)
    assert "cache.folder" in str(error.value)
    assert (tmp_path / "c" / "targets" / "part-00000.parquet").read_bytes() == before


def test_other_columns_are_refused(dataset, tmp_path):
    class More(ToyTeacher):
        columns = (array("answer", (2,)),)

    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    with pytest.raises(CacheMismatch, match="columns differ"):
        ask(dataset, More(PRINT), tmp_path / "c", whole)


def test_a_row_that_changed_under_its_id_is_asked_again_alone(dataset, tmp_path):
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, part_rows=10)
    ToyTeacher.asked.clear()
    dataset.digests[13] = b"changed!"
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, part_rows=10)
    assert ToyTeacher.asked == [dataset.ids[13]]


def test_more_views_ask_for_the_new_ones_alone(dataset, tmp_path):
    views = ViewsTable(count=3, flip=True)
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    ToyTeacher.asked.clear()
    cache = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", lambda p: views.of(dataset.ids[p], 7))
    assert len(ToyTeacher.asked) == 2 * 40
    row_id = dataset.ids[5]
    assert cache.views(row_id) == 3
    assert cache.target(row_id, 2)["answer"][0] == pytest.approx(cache.target(row_id)["answer"][0] + 2, abs=1e-5)


@pytest.mark.parametrize("draws", [True, False])
def test_views_that_look_alike_keep_answers_of_their_own_where_those_are_draws(dataset, tmp_path, draws):
    """Oracle: the toy says the sum and the view's number; where it doesn't draw, it is asked once for one crop."""

    class Own(ToyTeacher):
        pass

    Own.draws = draws
    views = ViewsTable(count=8, min_area=1.0, max_stretch=1.0)
    cache = ask(dataset, Own(PRINT), tmp_path / "c", lambda p: views.of(dataset.ids[p], 7)[:3])
    assert len(ToyTeacher.asked) == 40 * (3 if draws else 1)
    row_id = dataset.ids[5]
    for seen in (3, 8):
        said = [cache.target(row_id, n)["answer"][0] - cache.target(row_id)["answer"][0] for n in range(seen)]
        assert said == pytest.approx([n if draws else 0 for n in range(seen)], abs=1e-5)
        cache = ask(dataset, Own(PRINT), tmp_path / "c", lambda p: views.of(dataset.ids[p], 7))
    assert len(ToyTeacher.asked) == 40 * (8 if draws else 1)


class Absent(ToyTeacher):
    """A teacher whose answers are there, and whose weights aren't."""

    def load(self):
        raise AssertionError("the teacher was loaded, though nothing was missing")


class Counts(ToyTeacher):
    """Answers with how often anything was asked before, so that each answer tells when it was given."""

    def targets(self, rows, views):
        before = len(self.asked)
        said = super().targets(rows, views)
        return said | {"answer": np.arange(before, before + len(rows), dtype=np.float32)[:, None]}


def test_what_others_need_stays_and_a_teacher_that_misses_nothing_is_not_loaded(dataset, tmp_path):
    """Oracle: the parts' bytes; a teacher that can't be loaded; what the toy says when asked directly."""
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, ["one", "two"], part_rows=10)
    before = {path: path.read_bytes() for path in (tmp_path / "c").rglob("part-*")}
    few = ask(dataset, Absent(PRINT), tmp_path / "c", whole, ["two"], positions=[3, 5, 38], part_rows=10)
    assert [few.views(dataset.ids[p]) for p in (2, 3, 4, 5, 38, 39)] == [0, 1, 0, 1, 1, 0]
    for cache in (few, ask(dataset, Absent(PRINT), tmp_path / "c", whole, ["one", "two"], part_rows=10)):
        said = cache.targets("answer", [dataset.ids[p] for p in (38, 3)])[:, 0]
        assert said == pytest.approx([2 * features(dataset.row(p)).sum() for p in (38, 3)], abs=1e-5)
    assert {path: path.read_bytes() for path in (tmp_path / "c").rglob("part-*")} == before


def test_fewer_views_and_more_again_ask_nobody(dataset, tmp_path):
    """Oracle: a teacher that can't be loaded; views drawn afresh; the toy says the sum and the view's number."""
    views = ViewsTable(count=2, flip=True)

    def two(position):
        return views.of(dataset.ids[position], 7)

    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", two)
    for views_of, count in ((whole, 1), (two, 2)):
        cache = ask(dataset, Absent(PRINT), tmp_path / "c", views_of)
        for p, row_id in enumerate(dataset.ids):
            assert [cache.view(row_id, n) for n in range(cache.views(row_id))] == two(p)[:count]
            said = [cache.target(row_id, n)["answer"][0] for n in range(count)]
            assert said == pytest.approx([2 * features(dataset.row(p)).sum() + n for n in range(count)], abs=1e-5)


def test_parts_of_another_size_are_read_as_they_are(dataset, tmp_path):
    """Oracle: a teacher that can't be loaded; the numbers of rows in the parts, worked out by hand."""
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, positions=range(25), part_rows=10)
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, part_rows=7)
    cache = ask(dataset, Absent(PRINT), tmp_path / "c", whole, part_rows=1000)
    assert all(cache.views(row_id) == 1 for row_id in dataset.ids)
    targets = tmp_path / "c" / "targets"
    sizes = [store.read_manifest(targets, n)["rows"] for n in store.done_parts(targets)]
    assert sizes == [10, 10, 5, 7, 7, 1]


def test_two_students_who_read_a_row_differently_keep_each_their_answer(dataset, tmp_path):
    """Oracle: answers that tell when they were given: row 13's first as one student reads it, 41st as the other does."""
    mine = dataset.digests[13]
    for digest, teacher, answer in (
        (mine, Counts, 13),
        (b"theirs!!", Counts, 40),
        (mine, Absent, 13),
        (b"theirs!!", Absent, 40),
    ):
        dataset.digests[13] = digest
        cache = ask(dataset, teacher(PRINT), tmp_path / "c", whole)
        assert cache.views(dataset.ids[13]) == 1
        assert cache.target(dataset.ids[13])["answer"][0] == answer
        assert cache.target(dataset.ids[14])["answer"][0] == 14


def test_a_kill_while_answers_are_added_loses_none_that_were_there(dataset, tmp_path, monkeypatch):
    """Oracle: who was asked, after a run that died at each of the files that it writes."""
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, positions=range(20))
    real = store.write_file
    for dies_at in (".parquet", ".json"):

        def killed(path, data, dies_at=dies_at):
            if path.parent.name == "targets" and path.suffix == dies_at:
                raise KeyboardInterrupt
            real(path, data)

        with monkeypatch.context() as broken:
            broken.setattr(store, "write_file", killed)
            with pytest.raises(KeyboardInterrupt):
                ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
        ToyTeacher.asked.clear()
        ask(dataset, Absent(PRINT), tmp_path / "c", whole, positions=range(20))
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    assert ToyTeacher.asked == dataset.ids[20:]


def test_after_the_arms_nobody_is_asked_by_evaluation_or_a_plain_run(tmp_path, monkeypatch):
    """Oracle: who was asked. Two seeds label different rows of a small budget; the folder serves both and each alone."""
    recipe = toy_student_recipe(
        tmp_path,
        arms='seeds = 2\nnames = ["labels", "both"]',
        budget="labelled = 16\nunlabelled = 8",
        train="steps = 2\nbatch_size = 8",
    )
    out = distill(recipe, tmp_path / "out", arms=True).out
    assert 24 + 24 < len(ToyTeacher.asked) < 24 + 2 * 24
    monkeypatch.setattr(ToyTeacher, "load", Absent.load)
    evaluate_student(out)
    distill(recipe, out)
    distill(recipe, out, arms=True)


def test_views_are_replayed_as_they_were_drawn(dataset, tmp_path):
    views = ViewsTable(count=4, min_area=0.3, flip=True)
    cache = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", lambda p: views.of(dataset.ids[p], 7))
    for row_id in dataset.ids:
        assert [cache.view(row_id, n) for n in range(4)] == views.of(row_id, 7)


def test_needed_rows_alone_are_asked(dataset, tmp_path):
    cache = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, positions=[3, 30], part_rows=10)
    assert sorted(ToyTeacher.asked) == sorted([dataset.ids[3], dataset.ids[30]])
    assert cache.views(dataset.ids[3]) == 1
    assert cache.views(dataset.ids[4]) == 0


def test_large_columns_are_mapped_from_disk(dataset, tmp_path, monkeypatch):
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, part_rows=10)
    monkeypatch.setattr(teacher_cache, "IN_MEMORY_BYTES", 0)
    cache = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    row = dataset.row(17)
    assert isinstance(cache._columns["answer"].values.base, np.memmap)
    assert cache.target(row["id"])["answer"][0] == pytest.approx(2 * features(row).sum(), abs=1e-5)


def test_a_column_on_disk_is_written_once_and_kept_for_whoever_has_it_mapped(dataset, tmp_path, monkeypatch):
    """Oracle: the file's inode and time; what the first cache reads after other contents came."""
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, part_rows=10)
    monkeypatch.setattr(teacher_cache, "IN_MEMORY_BYTES", 0)
    first = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    unpacked = tmp_path / "c" / "targets" / ".unpacked"
    before = {path: path.stat() for path in unpacked.glob("*.npy")}
    assert len(before) == 2
    second = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    assert all(path.stat() == stat for path, stat in before.items())
    expected = np.stack([2 * features(dataset.row(p)).sum(keepdims=True) for p in range(len(dataset))])
    dataset.digests[13] = b"changed!"
    fewer = ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole, positions=range(20), part_rows=10)
    for cache in (first, second):
        assert np.allclose(cache.targets("answer", dataset.ids), expected, atol=1e-5)
    assert np.allclose(fewer.targets("answer", dataset.ids[:20]), expected[:20], atol=1e-5)
    assert {*unpacked.glob("*.npy")}.isdisjoint(before)
    assert not list(unpacked.glob("*.tmp"))


def test_a_killed_unpacking_leaves_nothing_that_counts(dataset, tmp_path, monkeypatch):
    """Oracle: the answers, after a first try that ended in the middle of the file."""
    ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    monkeypatch.setattr(teacher_cache, "IN_MEMORY_BYTES", 0)

    def killed(handle):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(teacher_cache.os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    assert not list((tmp_path / "c").rglob("*.npy"))
    row, again = dataset.row(17), ask(dataset, ToyTeacher(PRINT), tmp_path / "c", whole)
    assert again.target(row["id"])["answer"][0] == pytest.approx(2 * features(row).sum(), abs=1e-5)


def test_a_token_takes_at_most_300_bytes():
    """48 likeliest tokens with their log-probabilities, and the tail's log-mass, of 1,000 tokens as Arrow stores them."""
    rng = np.random.default_rng(0)
    tokens = 1000
    fields = [ragged("topk_ids", (48,), "int32"), ragged("topk_logprobs", (48,)), ragged("tail_logmass", (), "float32")]
    values = [
        rng.integers(0, 151_936, (tokens, 48)), -np.sort(rng.exponential(5, (tokens, 48))), rng.normal(size=tokens),
    ]  # fmt: skip
    size = sum(encoded(f, [v]).nbytes for f, v in zip(fields, values, strict=True))
    assert size / tokens <= 300


def test_embeddings_are_stored_in_float16(dataset, tmp_path):
    class Half(ToyTeacher):
        columns = (array("answer", (1,)),)

    ask(dataset, Half(PRINT), tmp_path / "c", whole)
    field = pq.read_schema(tmp_path / "c" / "targets" / "part-00000.parquet").field("answer")
    assert field.type.value_type == pa.float16()
