"""The contract suite turns red on stages that break it, each in one way. Oracle: by hand."""

from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from toy_stages import Best, Instruct, Lucky, Sample, Unique

from limbeck.errors import ContractError
from limbeck.records import column, columns
from limbeck.stage import Decision, Drop, Filter, Generator, settings
from limbeck.testing import check_stage

CAPTIONS = [{"id": f"r{i}", "caption": text} for i, text in enumerate(["a red house", "an odd tree", "a blue car"])]
DRAWN = [
    {"id": f"r{i // 3}/{i}", "parent_id": f"r{i // 3}", "luck": (7 * i % 10) / 10, "edit_type": "time", "seed": i}
    for i in range(9)
]


@pytest.mark.parametrize(
    ("stage", "rows"),
    [
        (Instruct(), CAPTIONS),
        (Sample(samples=3), [{"id": "r0", "edited_prompt": "a"}, {"id": "r1", "edited_prompt": "hopeless"}]),
        (Lucky(), DRAWN),
        (Best(), [row | {"lucky.score": row["luck"]} for row in DRAWN]),
        (Unique(modulus=4), DRAWN),
    ],
)
def test_good_stages_pass(stage, rows):
    table = check_stage(stage, rows)
    assert table.num_rows >= len(rows)


@settings
class ByPlace(Generator):
    """Its rows depend on where they stand."""

    name: ClassVar = "by_place"
    reads: ClassVar = columns("caption")
    writes: ClassVar = columns("seed")

    def generate(self, rows, run):
        return [{"id": f"{row['id']}/0", "seed": i} for i, row in enumerate(rows)]


@settings
class Shared(Generator):
    """Draws from one generator for all rows."""

    name: ClassVar = "shared"
    reads: ClassVar = columns("caption")
    writes: ClassVar = columns("seed")

    def generate(self, rows, run):
        rng = np.random.default_rng()
        return [{"id": f"{row['id']}/0", "seed": int(rng.integers(2**40))} for row in rows]


@settings
class Undeclared(Generator):
    """Returns a column that it doesn't declare."""

    name: ClassVar = "undeclared"
    reads: ClassVar = columns("caption")

    def generate(self, rows, run):
        return [{"id": f"{row['id']}/0", "mood": "good"} for row in rows]


@settings
class Greedy(Generator):
    """Reads a column that it doesn't declare."""

    name: ClassVar = "greedy"

    def generate(self, rows, run):
        return [{"id": f"{row['id']}/0"} for row in rows if row["caption"]]


@settings
class OwnReason(Generator):
    """Drops for a reason of the moment."""

    name: ClassVar = "own_reason"

    def generate(self, rows, run):
        return [Drop(row["id"], "monday") for row in rows]


@settings
class Disagrees(Filter):
    """Decides a row otherwise than a column."""

    name: ClassVar = "disagrees"
    reads: ClassVar = (column("luck", pa.float32()),)
    reasons: ClassVar = ("low",)
    limit: Annotated[float, Decision()] = 0.5  # of which there is a row

    def decides_on(self):
        return ("luck",)

    def decide(self, row):
        return ("low",) * (row["luck"] <= self.limit)

    def decide_columns(self, columns):
        return {"low": columns["luck"] < self.limit}


@settings
class FirstWins(Filter):
    """Keeps whichever sibling comes first."""

    name: ClassVar = "first_wins"
    reasons: ClassVar = ("late",)

    def decide_group(self, siblings):
        return [("late",) * (i > 0) for i in range(len(siblings))]


@pytest.mark.parametrize(
    ("stage", "rows", "error", "says"),
    [
        (ByPlace(), CAPTIONS, AssertionError, "in reverse order: seed of"),
        (Shared(), CAPTIONS, AssertionError, "run again: seed of"),
        (Undeclared(), CAPTIONS, ContractError, "'mood', which isn't among its `writes`"),
        (Greedy(), CAPTIONS, KeyError, "caption"),
        (OwnReason(), CAPTIONS, ContractError, "'monday', which isn't among its `reasons`"),
        (Disagrees(), DRAWN, AssertionError, "decide and decide_columns disagree"),
        (FirstWins(), DRAWN, AssertionError, "depends on the order of siblings"),
    ],
)
def test_a_broken_contract_is_named(stage, rows, error, says):
    with pytest.raises(error, match=says):
        check_stage(stage, rows)
