"""Tokens a sentence, Korean against English, of the miniatures' tokenizers and of any that is named.

    python benchmarks/visual_tokens.py
    python benchmarks/visual_tokens.py Qwen/Qwen3-8B /models/my-tokenizer

The same questions and answers about the same scenes, each worded natively in both languages; a tokenizer is a folder, a
Hub id, or `mini:NAME`. What counts for training cost is the ratio, for a model that reads both.
"""

from __future__ import annotations

import argparse
import json
import random

from transformers import AutoTokenizer

from limbeck.models import located
from limbeck.models.spec import ModelSpec
from limbeck.questions.pictures import DRAWERS_OF_ONE
from limbeck.questions.program import Ambiguous, answer
from limbeck.questions.view import View
from limbeck.questions.wording import word
from limbeck.storybook import Scene
from limbeck.storybook.source import rows as scenes

HERE = ("mini:llm", "mini:clip")


def sentences(count: int) -> dict[str, list[str]]:
    """Questions and full-sentence answers, the same ones in each language."""
    rng = random.Random(7)
    out: dict[str, list[str]] = {"en": [], "ko": []}
    for row in scenes(count, 7):
        view = View(Scene.from_json(row["scene"]))
        for name in rng.sample(sorted(DRAWERS_OF_ONE), 4):
            ask = DRAWERS_OF_ONE[name](view, rng)
            if ask is None:
                continue
            try:
                value = answer(ask.program, [view])
            except Ambiguous:
                continue
            for language, texts in out.items():
                worded = word(ask, value, [view], language, "sentence", rng)
                texts += [worded.question, worded.answer]
    return out


def measure(names: list[str], count: int) -> dict:
    texts = sentences(count)
    found = {
        "sentences_each": len(texts["en"]),
        "characters": {k: round(sum(map(len, v)) / len(v), 1) for k, v in texts.items()},
    }
    for name in names:
        tokenizer = AutoTokenizer.from_pretrained(located(ModelSpec(id=name)), trust_remote_code=False)
        mean = {
            language: sum(len(ids) for ids in tokenizer(lines, add_special_tokens=False)["input_ids"]) / len(lines)
            for language, lines in texts.items()
        }
        unknown = tokenizer.unk_token_id
        lost = (
            sum(ids.count(unknown) for ids in tokenizer(texts["ko"], add_special_tokens=False)["input_ids"])
            if unknown is not None
            else 0
        )
        found[name] = {
            "en": round(mean["en"], 1),
            "ko": round(mean["ko"], 1),
            "ratio": round(mean["ko"] / mean["en"], 2),
            "unknown_ko": lost,
        }
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tokenizers", nargs="*", help="folders, Hub ids or mini:NAME")
    parser.add_argument("--scenes", type=int, default=500)
    options = parser.parse_args()
    print(json.dumps(measure([*HERE, *options.tokenizers], options.scenes), indent=1))
