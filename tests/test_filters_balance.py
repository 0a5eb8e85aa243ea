"""Balance. Oracles: shares counted by hand, and independence of order."""

import random

import numpy as np
from question_rows import DirectRun

from filters.balance import Balance


def rows(yes, no, template="existence.random", language="en", pair=None, start=0):
    answers = ["true"] * yes + ["false"] * no
    return [
        {"id": f"{template}{language}{start + i}", "answer_value": a, "template": template, "language": language, "pair_id": pair}
        for i, a in enumerate(answers)
    ]  # fmt: skip


def kept(stage, given):
    scores = stage.score(given, DirectRun())
    columns = {name: np.array([s[name] for s in scores], dtype=object) for name in ("balance_group", "balance_yes")}
    dropped = stage.decide_all(columns | {"id": np.array([r["id"] for r in given], dtype=object)})["too_many_alike"]
    return [row for row, gone in zip(given, dropped, strict=True) if not gone]


def test_every_group_comes_to_half_and_half():
    given = rows(700, 300) + rows(10, 90, "place.is") + rows(3, 3, "place.is", "ko")
    left = kept(Balance(tolerance=0), given)
    count = {(r["template"], r["language"], r["answer_value"]): 0 for r in left}
    for row in left:
        count[row["template"], row["language"], row["answer_value"]] += 1
    assert sorted(count.values()) == [3, 3, 10, 10, 300, 300]


def test_the_tolerance_keeps_more():
    """300 no and at most 51% yes: 300 * 0.51 / 0.49 = 312."""
    left = kept(Balance(tolerance=0.01), rows(700, 300))
    assert sum(r["answer_value"] == "true" for r in left) == 312
    assert len(left) == 612
    assert len(kept(Balance(tolerance=0.5), rows(9, 1))) == 10


def test_order_changes_nothing():
    given = rows(80, 30) + rows(5, 45, "place.is")
    want = {row["id"] for row in kept(Balance(), given)}
    for seed in range(5):
        random.Random(seed).shuffle(given)
        assert {row["id"] for row in kept(Balance(), given)} == want


def test_pairs_and_other_answers_are_left_alone():
    given = [
        *rows(9, 1, pair="p"),
        {"id": "q", "answer_value": '"red"', "template": "t", "language": "en", "pair_id": None},
    ]
    given += rows(0, 4, "only.no")
    left = kept(Balance(), given)
    assert {r["id"] for r in given} - {r["id"] for r in left} == {r["id"] for r in rows(0, 4, "only.no")}
