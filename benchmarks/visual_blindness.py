"""How far a model gets that sees the questions and no picture: it should get no further than the majority answer.

    python benchmarks/visual_blindness.py --scenes 4000

Two blind models, trained on questions about train scenes and tested on questions about test scenes:

    cells   a logistic regression for each template, language and form, on words and pairs of words of the question
    whole   one network for all of them: embedded words and pairs of words, a hidden layer, every answer a class

The majority is the train questions' commonest answer of the same template, language and form. Minimal pairs are left
out of both and scored as pairs: a pair is right where both of its answers are, and who sees no picture gives both the
same.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from filters.balance import Balance
from generators.marked_pictures import MarkedPictures
from generators.visual_questions import VisualQuestions
from limbeck import seeds
from limbeck.questions.scoring import pairs_right
from limbeck.questions.wording import LANGUAGES
from limbeck.stage import Drop
from limbeck.storybook.source import rows as scenes
from limbeck.turns import answers, text_of

GEOMETRY = ("box", "point")


class _Run:
    log = logging.getLogger("blindness")

    def __init__(self, stage_id: str) -> None:
        self.stage_id = stage_id

    def seed(self, row_id, draw=0):
        return seeds.seed(7, self.stage_id, row_id, draw)


def made(stage, count, split):
    return [r for r in stage.generate(list(scenes(count, 5, split=split)), _Run(stage.name)) if not isinstance(r, Drop)]


def balanced(rows):
    stage = Balance(tolerance=0.005)
    scored = stage.score(rows, _Run(stage.name))
    columns = {name: np.array([s[name] for s in scored], dtype=object) for name in ("balance_group", "balance_yes")}
    dropped = stage.decide_all(columns | {"id": np.array([row["id"] for row in rows], dtype=object)})["too_many_alike"]
    return [row for row, gone in zip(rows, dropped, strict=True) if not gone]


def cell(row):
    return row["template"], row["language"], "choice" if row["answer_type"] == "choice" else "open"


def said(row):
    """What a classifier has to hit: the letter of a choice, which of two that the question names, else the value."""
    if row["answer_type"] == "choice":
        return answers(row["messages"])[0]
    if row["template"] in ("comparison.further", "comparison.taller"):  # programs of ["either", test, first, second]
        _, _, *named = json.loads(row["program"])
        words = [LANGUAGES[row["language"]].WORDS["kind"].get(kind, kind) for kind in named]
        first = min(range(2), key=lambda i: text_of(row["messages"][0]).find(words[i]))
        return "the first named" if json.loads(row["answer_value"]) == named[first] else "the second named"
    return row["answer_value"]


def features(rows):
    """Words and pairs of words of a question, and its cell."""
    out = []
    for row in rows:
        words = text_of(row["messages"][0]).split()
        out.append([*words, *map(" ".join, pairwise(words)), " ".join(("cell", *cell(row)))])
    return out


def by_cell(train, test):
    """Answers of a logistic regression of its own for each cell."""
    cells = defaultdict(lambda: ([], []))
    for part, rows in enumerate((train, test)):
        for i, row in enumerate(rows):
            cells[cell(row)][part].append(i)
    out = [""] * len(test)
    for own, asked in cells.values():
        classes = sorted({said(train[i]) for i in own})
        if not asked or not classes:
            continue
        xs = features([train[i] for i in own])
        words = {word: n for n, word in enumerate(sorted({w for x in xs for w in x}))}

        def dense(lists, words=words):
            x = torch.zeros(len(lists), len(words))
            for row, found in enumerate(lists):
                x[row, [words[w] for w in found if w in words]] = 1
            return x

        x, y = dense(xs), torch.tensor([classes.index(said(train[i])) for i in own])
        model = nn.Linear(len(words), len(classes))
        nn.init.zeros_(model.weight)
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100, line_search_fn="strong_wolfe")

        def loss(x=x, y=y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(x), y) + 1.7 * model.weight.square().sum() / len(x)
            value.backward()
            return value

        optimizer.step(loss)
        chosen = model(dense(features([test[i] for i in asked]))).argmax(1).tolist()
        for i, choice in zip(asked, chosen, strict=True):
            out[i] = classes[choice]
    return out


def whole(train, test, epochs):
    """Answers of one network for all questions."""
    torch.manual_seed(7)
    xs = features(train)
    counts = Counter(word for x in xs for word in x)
    words = {word: n for n, (word, count) in enumerate(counts.items()) if count > 2}
    classes = sorted({said(row) for row in train})
    y = torch.tensor([classes.index(said(row)) for row in train])

    def bags(lists):
        found = [[words[w] for w in x if w in words] for x in lists]
        return torch.tensor([w for x in found for w in x]), torch.tensor(np.cumsum([0, *map(len, found[:-1])]))

    embed = nn.EmbeddingBag(max(words.values()) + 1, 128, mode="mean")
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, len(classes)))
    optimizer = torch.optim.AdamW([*embed.parameters(), *head.parameters()], lr=3e-3, weight_decay=0.05)
    for _ in range(epochs):
        for batch in torch.randperm(len(train)).split(256):
            loss = nn.functional.cross_entropy(head(embed(*bags([xs[i] for i in batch.tolist()]))), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    head.eval()
    with torch.inference_mode():
        return [classes[i] for i in head(embed(*bags(features(test)))).argmax(1).tolist()]


def measure(count: int, epochs: int) -> dict:
    alone = VisualQuestions(pictures=False, minimal_pairs=0, per_scene=12, two_pictures=2)
    rows = {}
    for split, n in (("train", count), ("test", count // 3)):
        asked = balanced(made(alone, n, split) + made(MarkedPictures(per_scene=2, size_px=160), n // 8, split))
        rows[split] = [
            r for r in asked if r["answer_type"] not in GEOMETRY and r["template"] not in ("region.box", "point.to")
        ]
    train, test = rows["train"], rows["test"]
    truth = [said(row) for row in test]
    common = defaultdict(Counter)
    for row in train:
        common[cell(row)][said(row)] += 1
    majority = [common[cell(row)].most_common(1)[0][0] if common[cell(row)] else "" for row in test]
    right = {"majority": majority, "cells": by_cell(train, test), "whole": whole(train, test, epochs)}
    right = {name: np.array([a == b for a, b in zip(found, truth, strict=True)]) for name, found in right.items()}
    yes = Counter(
        (r["template"], r["language"], r["answer_value"]) for r in train if r["answer_value"] in ("true", "false")
    )
    shares = [yes[t, l, "true"] / (yes[t, l, "true"] + yes[t, l, "false"]) for t, l in {key[:2] for key in yes}]
    gains = defaultdict(list)
    for i, row in enumerate(test):
        gains["/".join(cell(row))].append(float(right["cells"][i]) - float(right["majority"][i]))
    paired = [
        r
        for r in made(VisualQuestions(pictures=False, minimal_pairs=4, per_scene=0, two_pictures=0), count // 4, "test")
        if r["pair_id"]
    ]
    blind = by_cell(train, paired)
    pairs = pairs_right(paired, [a == said(row) for a, row in zip(blind, paired, strict=True)])
    return {
        "train": len(train), "held_out": len(test),
        **{name: round(100 * float(hits.mean()), 2) for name, hits in right.items()},
        **{f"gain_{name}_points": round(100 * float(right[name].mean() - right["majority"].mean()), 2) for name in ("cells", "whole")},
        "yes_share": [round(min(shares), 4), round(max(shares), 4)],
        "cells_that_gain_most": [
            (name, len(g), round(100 * float(np.mean(g)), 1))
            for name, g in sorted(gains.items(), key=lambda item: -np.mean(item[1])) if len(g) >= 100
        ][:5],
        "pairs": len(pairs), "pairs_right_blind": sum(pairs.values()),
        "paired_rows_right_blind": round(float(np.mean([a == said(r) for a, r in zip(blind, paired, strict=True)])), 3),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    print(json.dumps(measure(options.scenes, options.epochs), indent=1))
