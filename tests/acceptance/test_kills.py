"""Killed with SIGKILL at 20 random moments, a build ends with the bytes of an undisturbed one.

Oracle: the undisturbed build. The seed of the moments is printed, so that a failure can be repeated.
"""

import random

import pytest
from test_limbeck_runner import SLOW, killed_at_random
from toy_recipes import data_digest, toy_recipe

from limbeck.building import build

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
