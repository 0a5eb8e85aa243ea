"""How far a model gets that sees the questions and no picture: it should get no further than the majority answer.

    python benchmarks/visual_blindness.py --scenes 4000

One logistic regression a template, language and form, on words and pairs of words of the question; trained on train
scenes, tested on test scenes, minimal pairs left out. Majority: the train rows' commonest answer of the same cell.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter, defaultdict

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from filters.balance import Balance
from generators.visual_questions import VisualQuestions
from limbeck import seeds
from limbeck.stage import Drop
from limbeck.storybook.source import rows as scenes
from limbeck.turns import answers, text_of


class _Run:
    stage_id, log = "visual_questions", logging.getLogger("blindness")

    def seed(self, row_id, draw=0):
        return seeds.seed(7, self.stage_id, row_id, draw)


def balanced(rows):
    stage = Balance(tolerance=0.005)
    scored = stage.score(rows, _Run())
    columns = {name: np.array([s[name] for s in scored], dtype=object) for name in ("balance_group", "balance_yes")}
    dropped = stage.decide_all(columns | {"id": np.array([row["id"] for row in rows], dtype=object)})["too_many_alike"]
    return [row for row, gone in zip(rows, dropped, strict=True) if not gone]


def measure(count: int) -> dict:
    stage = VisualQuestions(pictures=False, minimal_pairs=0, per_scene=12, two_pictures=2)
    made = {"train": [], "test": []}
    for split, n in (("train", count), ("test", count // 3)):
        rows = [r for r in stage.generate(list(scenes(n, 5, split=split)), _Run()) if not isinstance(r, Drop)]
        made[split] = [r for r in balanced(rows) if r["answer_type"] not in ("box", "point") and "box" not in r["template"]
                       and r["template"] != "point.to"]  # fmt: skip
    cells = defaultdict(lambda: {"train": [], "test": []})
    for split, rows in made.items():
        for row in rows:
            said = answers(row["messages"])[0] if row["answer_type"] == "choice" else row["answer_value"]
            form = "choice" if row["answer_type"] == "choice" else "open"
            cells[row["template"], row["language"], form][split].append((text_of(row["messages"][0]), said))
    blind = majority = total = 0
    worst = []
    for cell, data in sorted(cells.items()):
        (x, y), (a, b) = (zip(*data[s], strict=True) if data[s] else ((), ()) for s in ("train", "test"))
        if not b or not y:
            continue
        common = Counter(y).most_common(1)[0][0]
        hits = sum(said == common for said in b)
        if len(set(y)) > 1:
            model = make_pipeline(CountVectorizer(ngram_range=(1, 2), token_pattern=r"[^\s]+"), LogisticRegression(C=0.3, max_iter=300))
            model.fit(x, y)
            seen = int((model.predict(a) == np.array(b)).sum())
        else:
            seen = hits
        blind, majority, total = blind + seen, majority + hits, total + len(b)
        worst.append(((seen - hits) / len(b), "/".join(cell), len(b)))
    yes = Counter((r["template"], r["language"], r["answer_value"]) for r in made["train"] if r["answer_value"] in ("true", "false"))
    shares = [yes[t, l, "true"] / (yes[t, l, "true"] + yes[t, l, "false"]) for t, l in {key[:2] for key in yes}]
    return {
        "train": len(made["train"]), "held_out": total, "blind": blind / total, "majority": majority / total,
        "gain_points": 100 * (blind - majority) / total, "yes_share": [min(shares), max(shares)],
        "cells_that_gain_most": [w for w in sorted(worst, reverse=True) if w[2] >= 100][:8],
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=4000)
    print(json.dumps(measure(parser.parse_args().scenes), indent=1))
