"""The runner on text-only stages. Oracle: an undisturbed build, and counts worked out by hand."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_recipes import Watching, data_digest, toy_recipe

from limbeck import store
from limbeck.building import build, refilter
from limbeck.built import open_build
from limbeck.errors import DiskFull, RequestError, TooManyErrors


def run(recipe, out, **options):
    watching = Watching()
    return build(recipe, out, observer=watching, report=False, **options), watching.worked


def test_every_row_has_an_outcome(tmp_path):
    captions = [f"a red house number {i}" for i in range(17)] + [
        "an odd house",
        "a hopeless house",
        "",
        "a red house number 3",
    ]
    built, _ = run(toy_recipe(tmp_path, captions), tmp_path / "out")
    funnel = {count.stage: count for count in built.funnel()}
    assert (funnel["source"].rows, funnel["source"].kept) == (21, 19)
    assert funnel["source"].reasons == {"caption_empty": 1, "duplicate": 1}
    assert (funnel["instruct"].rows, funnel["instruct"].kept, funnel["instruct"].reasons) == (19, 18, {"odd": 1})
    assert (funnel["sample"].rows, funnel["sample"].kept, funnel["sample"].reasons) == (18, 68, {"hopeless": 1})
    for name in ("lucky", "best", "unique"):
        assert funnel[name].rows == funnel[name].kept + funnel[name].dropped + funnel[name].failed
    assert funnel["lucky"].rows == 68
    assert funnel["unique"].kept == len(list(built.rows())) == sum(built.splits().values())
    verdicts = built.verdicts().to_pylist()
    assert len({v["id"] for v in verdicts}) == len(verdicts) == 2 + 1 + 1 + 68
    assert all((v["verdict"] == "kept") == (v["reason"] is None) for v in verdicts)


def test_a_finished_build_is_not_worked_on_again_and_a_threshold_costs_no_work(tmp_path):
    recipe = toy_recipe(tmp_path, 10)
    first, worked = run(recipe, tmp_path / "out")
    assert worked == {"instruct": 3, "sample": 3, "lucky": 3}
    before = data_digest(tmp_path / "out")
    assert run(recipe, tmp_path / "out")[1] == {}
    assert data_digest(tmp_path / "out") == before
    changed, worked = run(recipe, tmp_path / "out", sets=["lucky.min_luck=0.6"])
    assert worked == {}
    assert changed.funnel()[-1].kept < first.funnel()[-1].kept
    assert run(recipe, tmp_path / "out", sets=["lucky.noise=0.2"])[1] == {"lucky": 3}
    assert run(recipe, tmp_path / "out", sets=["sample.samples=3"])[1] == {"sample": 3, "lucky": 3}
    assert run(recipe, tmp_path / "out", sets=["dataset.seed=8"])[1] == {"instruct": 3, "sample": 3, "lucky": 3}


def test_refiltering_gives_what_a_build_with_those_thresholds_gives(tmp_path):
    recipe = toy_recipe(tmp_path, 12)
    sets = ["lucky.min_luck=0.5", "lucky.by.edit_type.time={min_luck = 0.1}", "best.keep=2", "unique.modulus=5"]
    run(recipe, tmp_path / "fresh", sets=sets)
    run(recipe, tmp_path / "out")
    refilter(tmp_path / "out", sets, report=False)
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "fresh")
    assert open_build(tmp_path / "out").recipe.digest() == open_build(tmp_path / "fresh").recipe.digest()


def test_new_rows_make_new_parts_and_change_no_other(tmp_path):
    run(toy_recipe(tmp_path, 10), tmp_path / "out")
    kept = {row["id"] for row in open_build(tmp_path / "out").rows()}
    captions = ["a new house on top", *(f"a red house number {i}" for i in range(10))]
    built, worked = run(toy_recipe(tmp_path, captions), tmp_path / "out")
    assert worked == {"instruct": 1, "sample": 1, "lucky": 1}
    assert kept < {row["id"] for row in built.rows()}
    smaller, worked = run(toy_recipe(tmp_path, captions[1:6]), tmp_path / "out")
    assert worked == {}
    assert {row["source_id"] for row in smaller.rows()} <= {row["source_id"] for row in built.rows()}
    assert smaller.funnel()[0].kept == 5


def test_failed_rows_are_kept_apart_and_tried_again_when_told(tmp_path, monkeypatch):
    captions = [f"a red house number {i}" for i in range(11)] + ["a broken house"]
    recipe = toy_recipe(tmp_path, captions, run="max_error_rate = 0.1")
    built, _ = run(recipe, tmp_path / "out")
    count = built.funnel()[1]
    assert (count.kept, count.failed, count.reasons) == (11, 1, {"error:BadAnswer": 1})
    monkeypatch.setenv("LIMBECK_TEST_MENDED", "1")
    assert run(recipe, tmp_path / "out")[1] == {}
    again, worked = run(recipe, tmp_path / "out", retry_failed=True)
    assert worked == {"instruct": 1, "sample": 1, "lucky": 1}
    assert again.funnel()[1].failed == 0


def test_too_many_failures_stop_the_build_and_are_asked_again_by_the_next_run(tmp_path, monkeypatch):
    captions = [f"a broken house number {i}" for i in range(8)]
    recipe = toy_recipe(tmp_path, captions)
    with pytest.raises(TooManyErrors, match=r"instruct.*max_error_rate"):
        run(recipe, tmp_path / "out")
    monkeypatch.setenv("LIMBECK_TEST_MENDED", "1")
    built, _ = run(recipe, tmp_path / "out")
    assert built.funnel()[1].kept == 8


def test_a_programming_error_propagates(tmp_path):
    recipe = toy_recipe(tmp_path, 8, sample="samples = -1")  # makes no child, so rows are left without outcome
    with pytest.raises(Exception, match="gave no row, Drop or Failed"):
        run(recipe, tmp_path / "out")


def test_a_barrier_decides_over_all_parts_before_the_next_generator(tmp_path):
    use = f'use = "{Path(__file__).parent / "toy_stages.py"}:Sample"'
    more = f'[[stages]]\nid = "again"\n{use}\nsamples = 2'
    recipe = toy_recipe(tmp_path, 12, more=more)
    built, _ = run(recipe, tmp_path / "out", sets=["unique.modulus=5"])
    counts = {count.stage: count for count in built.funnel()}
    assert counts["unique"].kept <= 5
    assert counts["again"].rows == counts["unique"].kept
    assert counts["again"].kept == 2 * counts["unique"].kept
    refiltered = refilter(tmp_path / "out", ["unique.modulus=1000"], report=False)
    laxer = {count.stage: count for count in refiltered.funnel()}
    assert laxer["again"].reasons == {"not_made": laxer["unique"].kept - counts["unique"].kept}
    whole, _ = run(recipe, tmp_path / "out")
    assert whole.funnel()[-1].reasons == {}


def test_one_part_at_a_time_gives_the_same_bytes(tmp_path):
    run(toy_recipe(tmp_path, 20), tmp_path / "a")
    run(toy_recipe(tmp_path, 20, run="parts_in_flight = 1"), tmp_path / "b")
    assert data_digest(tmp_path / "a") == data_digest(tmp_path / "b")


def test_shards_share_a_build(tmp_path):
    recipe = toy_recipe(tmp_path, 20)
    run(recipe, tmp_path / "whole")
    assert run(recipe, tmp_path / "out", shard=(0, 2))[0].partial
    built, worked = run(recipe, tmp_path / "out", shard=(1, 2))
    assert worked == {"instruct": 2, "sample": 2, "lucky": 2}
    assert not built.partial
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "whole")


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    recipe, written = toy_recipe(tmp_path, 12), 0
    real = os.fsync

    def full(handle):
        nonlocal written
        written += 1
        if written > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        with pytest.raises(DiskFull, match="Free some space"):
            run(recipe, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tmp"))
    run(recipe, tmp_path / "out")
    run(recipe, tmp_path / "whole")
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "whole")


@pytest.mark.parametrize("after", range(0, 21, 5))
def test_a_disk_may_be_full_at_any_write(tmp_path, monkeypatch, after):
    """The source's own files among them. Oracle: the error's class, wherever the write is made."""
    left = iter(range(after))
    real = os.fsync

    def full(handle):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(DiskFull):
        run(toy_recipe(tmp_path, 12), tmp_path / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_limit_on_files_is_said_in_one_line(tmp_path):
    """`ulimit -f` of 8 KB; the report is larger. Oracle: exit code and terminal of a process of its own."""
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192));"
    script += "from limbeck.launch import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "run", str(toy_recipe(tmp_path, 12)), "--direct", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "a file grew over the size that is allowed here. Raise the limit (`ulimit -f`)" in done.stderr


def test_a_folder_that_cant_be_one_is_a_wrong_request(tmp_path):
    with pytest.raises(RequestError, match=r"can't be written: Not a directory\. Name a folder") as error:
        run(toy_recipe(tmp_path, 12), tmp_path / "captions.txt" / "out")
    assert error.value.exit_code == 2


COMMAND = "import sys; from limbeck.building import build; build(sys.argv[1], sys.argv[2], report=False)"
SLOW = {"instruct": "wait_s = 0.05", "sample": "wait_s = 0.02"}


def start(recipe, out):
    return subprocess.Popen([sys.executable, "-c", COMMAND, str(recipe), str(out)], stderr=subprocess.PIPE)


def killed_at_random(recipe, out, kills, rng, within_s=0.6):
    """Runs to the end with SIGKILL on the way; returns how often it really hit a run."""
    hits = 0
    for _ in range(kills):
        process, had = start(recipe, out), len(list(out.rglob("part-*.json")))
        while process.poll() is None and len(list(out.rglob("part-*.json"))) == had:
            time.sleep(0.01)  # imports are over, work has begun
        time.sleep(rng.uniform(0, within_s))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            hits += 1
        process.communicate()
    process = start(recipe, out)
    assert process.wait() == 0, process.stderr.read().decode()
    return hits


def test_killed_three_times_it_ends_with_the_same_bytes(tmp_path):
    recipe = toy_recipe(tmp_path, 40, **SLOW)
    assert killed_at_random(recipe, tmp_path / "out", 3, random.Random(5)) > 0
    run(recipe, tmp_path / "whole")
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "whole")
    same = [(tmp_path / d / "stages" / "verdicts.parquet").read_bytes() for d in ("out", "whole")]
    assert same[0] == same[1]


def test_two_processes_share_the_work_and_give_the_same_bytes(tmp_path):
    recipe = toy_recipe(tmp_path, 40, **SLOW)
    processes = [start(recipe, tmp_path / "out") for _ in range(2)]
    for process in processes:
        assert process.wait() == 0, process.stderr.read().decode()
    run(recipe, tmp_path / "whole")
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "whole")


def test_the_lock_says_what_it_was_made_with(tmp_path):
    run(toy_recipe(tmp_path, 4), tmp_path / "out")
    lock = json.loads((tmp_path / "out" / "lock.json").read_text())
    assert lock["seed"] == 7
    assert lock["packages"]["pyarrow"]
    assert set(lock["stages"]) == {"instruct", "sample", "lucky", "best", "unique"}
    assert str(tmp_path) not in (tmp_path / "out" / "lock.json").read_text()
