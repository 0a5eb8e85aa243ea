"""The run handle: seeds by row, and questions to a model in this process in rounds. Oracle: by hand."""

import asyncio
import random
from pathlib import Path

import pytest
from toy_stages import Direction, Instruct

from limbeck import seeds
from limbeck.errors import ModelNotFound
from limbeck.handle import Handle, ModelPool, Rounds
from limbeck.models.spec import ModelSpec
from limbeck.progress import Observer
from limbeck.schema import StageTable


class Batching:
    """Answers whatever was asked before it is its turn, and notes who was asked together."""

    def __init__(self):
        self.batches, self._waiting = [], []

    async def complete(self, messages, **parameters):
        self._waiting.append(messages)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._waiting:
            self.batches.append(sorted(self._waiting))
            self._waiting = []
        return f"answer to {messages}"


def batches(rows, seed):
    """Batches of a part whose rows ask twice each, the odd ones a third time, started in some order."""
    model = Batching()

    async def one(rounds, row):
        for turn in range(3 if row % 2 else 2):
            for _ in range(random.Random(seed * 100 + row).randrange(3)):
                await asyncio.sleep(0)
            assert await rounds.ask(f"{row}.{turn}", {}) == f"answer to {row}.{turn}"

    async def part():
        rounds = Rounds(model, asyncio.Lock())
        order = list(range(rows))
        random.Random(seed).shuffle(order)
        await asyncio.gather(*(one(rounds, row) for row in order))

    asyncio.run(part())
    return model.batches


def test_a_parts_questions_go_in_the_same_rounds_whatever_the_order():
    first = batches(6, 0)
    assert first == [[f"{r}.0" for r in range(6)], [f"{r}.1" for r in range(6)], [f"{r}.2" for r in (1, 3, 5)]]
    assert all(batches(6, seed) == first for seed in range(1, 8))


def test_one_failed_answer_fails_its_own_row():
    class Moody:
        async def complete(self, messages, **parameters):
            if messages == "bad":
                raise ValueError("bad")
            return messages

    async def part():
        rounds = Rounds(Moody(), asyncio.Lock())
        return await asyncio.gather(*(rounds.ask(m, {}) for m in ("a", "bad", "c")), return_exceptions=True)

    first, failed, last = asyncio.run(part())
    assert (first, str(failed), last) == ("a", "bad", "c")


def test_draws_depend_on_seed_stage_row_and_draw_alone():
    pool = ModelPool({}, Path(), Observer())
    handle = Handle(StageTable("pairs", "x", Instruct(), {}), seed=7, pool=pool)
    assert handle.seed("r/0", 3) == seeds.seed(7, "pairs", "r/0", 3)
    assert handle.rng("r/0", 3).random() == seeds.rng(7, "pairs", "r/0", 3).random()
    other = Handle(StageTable("more", "x", Instruct(), {}), seed=7, pool=pool)
    assert len({handle.seed("r", 0), handle.seed("r", 1), handle.seed("s", 0), other.seed("r", 0)}) == 4


def test_a_stage_gets_the_models_that_its_settings_name_and_no_other(tmp_path):
    spec = ModelSpec(id="./nowhere")
    pool = ModelPool({"scorer": spec, "painter": spec}, tmp_path, Observer())
    handle = Handle(StageTable("direction", "x", Direction(), {}), seed=7, pool=pool, fingerprints={"scorer": "f"})
    assert handle.fingerprint("scorer") == "f"
    with pytest.raises(KeyError, match="none of its settings names"):
        handle.model("painter")
    with pytest.raises(ModelNotFound, match=r"models\.scorer: there is no model folder"):
        handle.model("scorer")
