"""Killed with SIGKILL at 20 random moments, a build ends with the bytes of an undisturbed one.

Oracle: the undisturbed build. The seed of the moments is printed, so that a failure can be repeated.
"""

import json
import random
from pathlib import Path

import pytest
from test_limbeck_runner import SLOW, killed_at_random, start
from toy_recipes import data_digest, toy_recipe

from limbeck.building import build
from limbeck.loopback import Faults, LoopbackServer

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.acceptance


def test_twenty_kills_change_no_byte(tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    recipe = toy_recipe(tmp_path, 160, **SLOW)
    hits = killed_at_random(recipe, tmp_path / "out", 20, random.Random(seed))
    assert hits >= 10, f"only {hits} of 20 kills hit a run that was at work"
    build(recipe, tmp_path / "whole", report=False)
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "whole")
    for name in ("verdicts.parquet",):
        assert (tmp_path / "out/stages" / name).read_bytes() == (tmp_path / "whole/stages" / name).read_bytes()


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory) -> tuple[Path, Path]:
    """The smoke recipe in small parts, so that there is much to interrupt; and what it makes undisturbed."""
    folder = tmp_path_factory.mktemp("line")
    recipe = folder / "smoke.toml"
    text = (ROOT / "recipes" / "smoke.toml").read_text()
    assert "part_rows = 4" in text
    recipe.write_text(text.replace("part_rows = 4", "part_rows = 1").replace("rows = 12", "rows = 24"))
    build(recipe, folder / "whole", report=False)
    return recipe, folder / "whole"


def same(out: Path, whole: Path) -> bool:
    verdicts = [(folder / "stages" / "verdicts.parquet").read_bytes() for folder in (out, whole)]
    return data_digest(out) == data_digest(whole) and verdicts[0] == verdicts[1]


def test_twenty_kills_of_the_miniature_line_change_no_byte(miniatures, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    recipe, whole = miniatures
    hits = killed_at_random(recipe, tmp_path / "out", 20, random.Random(seed), within_s=2.0)
    print(f"{hits} of 20 kills hit a run that was at work")
    assert hits >= 10
    assert same(tmp_path / "out", whole)


def test_two_processes_share_the_miniature_line(miniatures, tmp_path):
    recipe, whole = miniatures
    processes = [start(recipe, tmp_path / "out") for _ in range(2)]
    for process in processes:
        assert process.wait() == 0, process.stderr.read().decode()
    assert same(tmp_path / "out", whole)


def test_twenty_kills_pay_no_more_twice_than_was_in_flight(tmp_path):
    """Oracle: the server's own counts. A kill can lose what is in flight at that moment, and nothing else."""
    seed, slots = random.randrange(10**6), 8
    print(f"seed {seed}")
    (tmp_path / "captions.jsonl").write_text(
        "".join(json.dumps({"caption": f"a red house number {i}"}) + "\n" for i in range(2000))
    )
    with LoopbackServer(Faults(latency=0.05)) as server:
        (tmp_path / "paid.toml").write_text(f"""
            dataset = {{ name = "paid", record = "EditInstruction" }}
            source = {{ captions = "captions.jsonl" }}
            stages = [{{ use = "edit_instructions" }}]
            run = {{ part_rows = 16 }}
            [models.writer]
            base_url = "{server.base_url}"
            model = "loopback"
            concurrency = {slots}
        """)
        hits = killed_at_random(tmp_path / "paid.toml", tmp_path / "out", 20, random.Random(seed))
        stats = server.stats()
    print(f"{hits} kills hit; {stats}")
    assert hits >= 10
    assert stats["answers_repeated"] <= hits * slots
    assert sum(1 for _ in (tmp_path / "out" / "data").iterdir()) == 1
    with LoopbackServer() as quiet:
        text = (tmp_path / "paid.toml").read_text().replace(server.base_url, quiet.base_url)
        (tmp_path / "undisturbed.toml").write_text(text)
        build(tmp_path / "undisturbed.toml", tmp_path / "whole", report=False)
    assert [row["edit_prompt"] for row in _rows(tmp_path / "out")] == [
        row["edit_prompt"] for row in _rows(tmp_path / "whole")
    ]


def _rows(out: Path) -> list[dict]:
    from limbeck import open_build

    return list(open_build(out).rows())
