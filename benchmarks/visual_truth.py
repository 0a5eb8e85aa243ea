"""What answers_true finds: in program-made answers, among injected errors, and in answers written by a model.

    python benchmarks/visual_truth.py --scenes 2000
    python benchmarks/visual_truth.py --scenes 0 --writer mini:llm --written 300

Agreement: every answer of the programs, pictures encoded, recomputed by the second implementation from pixels and labels.
Errors: 500 put in by limbeck/questions/injected.py, which shares nothing with the checker, and the 500 good rows they were made
of; half English, half Korean, all types. Written: conversations, descriptions and reasoning by a chat model, or without
`--writer` by a stand-in that writes what is true and spoils one answer in four; the share of claims that the pictures
bear out, before and after filtering.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from question_rows import DirectRun, made

from filters.answers_true import AnswersTrue
from filters.source_leak import SourceLeak
from generators.marked_pictures import MarkedPictures
from generators.visual_conversations import VisualConversations
from generators.visual_descriptions import VisualDescriptions
from generators.visual_questions import VisualQuestions
from generators.visual_reasoning import VisualReasoning
from limbeck import models
from limbeck.calibration import calibrate, interval
from limbeck.models.roles import ChatAnswer
from limbeck.models.spec import ModelSpec
from limbeck.questions.injected import inject, inject_open
from limbeck.questions.teaching import example
from limbeck.stage import Drop
from limbeck.storybook import Scene
from limbeck.storybook.source import rows as scenes

WRITERS = (VisualConversations, VisualDescriptions, VisualReasoning)


def agreement(count: int) -> dict:
    faults: Counter[str] = Counter()
    checked = templates = 0
    check, seen = AnswersTrue(), set()
    source = list(scenes(count, 17))
    for start in range(0, count, 50):
        batch = made(VisualQuestions(per_scene=12, two_pictures=2), source[start : start + 50])
        batch += made(MarkedPictures(size_px=160), source[start : start + 50 : 5])
        for row, out in zip(batch, check.score(batch, DirectRun()), strict=True):
            checked += out["checked"]
            seen.add((row["template"], row["language"], row["answer_type"]))
            if out["fault"]:
                faults[f"{out['fault']}: {row['template']}/{row['language']}: {out['detail']}"] += 1
    templates = len({template for template, _, _ in seen})
    return {
        "answers": checked, "disagree": sum(faults.values()), "templates": templates, "kinds_of_question": len(seen),
        "disagreements": dict(faults.most_common(5)),
    }  # fmt: skip


def errors(count: int) -> dict:
    rng, check, found = random.Random(5), AnswersTrue(), {}
    for language in ("en", "ko"):
        rows = made(VisualQuestions(per_scene=10, two_pictures=1, languages={language: 1}), list(scenes(count, 21)))
        rng.shuffle(rows)
        pairs = [(name, row, bad) for row in rows if (got := inject(row, rng, rows)) for name, bad in [got] if bad][
            :count
        ]
        found[language] = (
            pairs,
            check.score([row for _, row, _ in pairs], DirectRun()),
            check.score([bad for _, _, bad in pairs], DirectRun()),
        )
    pairs = [pair for own, _, _ in found.values() for pair in own]
    good = [out["fault"] is not None for _, outs, _ in found.values() for out in outs]
    bad = [out["fault"] is not None for _, _, outs in found.values() for out in outs]
    by_rule = {}
    for rule in sorted({name for name, *_ in pairs}):
        hits = [hit for (name, *_), hit in zip(pairs, bad, strict=True) if name == rule]
        by_rule[rule] = f"{sum(hits)}/{len(hits)}"
    return {"summary": str(calibrate(bad, good)), "by_rule": by_rule}


class StandIn:
    """Writes what is true of the scene in the prompt; one answer in four it spoils."""

    fingerprint, prompt_style, sees = "stand-in", "short", False
    world = {"visual_tasks": ["conversation", "description", "reasoning"], "languages": ["en"]}  # noqa: RUF012

    def __init__(self, rows: list) -> None:
        self.scene_of = {row["caption"]: row for row in rows}

    async def complete(self, messages, **_):
        told = dict(line.split(": ", 1) for line in messages[-1]["content"].splitlines())
        row = self.scene_of[told["caption"]]
        rng = random.Random(f"{row['id']}{told['write']}")
        _, answer, _ = example(Scene.from_json(row["scene"]), rng, told["write"])
        return ChatAnswer(inject_open(answer, row["scene"], rng) if rng.random() < 0.25 else answer, model="stand-in")


def written(count: int, writer: str) -> dict:
    source = list(scenes(count, 23, split="test"))
    model = models.load(ModelSpec(id=writer), "chat") if writer else StandIn(source)
    out = {}
    for cls in WRITERS:
        stage = cls()
        run = DirectRun(stage.name, model)

        async def everything(stage=stage, run=run):
            return await asyncio.gather(*(stage.generate_one(row, run) for row in source))

        results = [result for results in asyncio.run(everything()) for result in results]
        rows = [row for row in results if not isinstance(row, Drop)]
        drops = Counter(result.reason for result in results if isinstance(result, Drop))
        checks = AnswersTrue().score([row | {"program": None} for row in rows], DirectRun())
        leaks = SourceLeak().score(rows, DirectRun())
        kept = [o for o, leak in zip(checks, leaks, strict=True) if not o["fault"] and not leak["leak"]]
        out[stage.task] = {
            "asked": len(results), "unusable": dict(drops), "rows": len(rows), "kept": len(kept),
            "leaks": sum(leak["leak"] is not None for leak in leaks),
            "claims_a_row": round(sum(o["claims"] for o in checks) / max(len(checks), 1), 1),
            "supported_before": supported(checks), "supported_after": supported(kept),
        }  # fmt: skip
    return out


def supported(outs: list) -> str:
    claims = sum(out["claims"] for out in outs)
    good = round(sum(out["claims"] * out["supported"] for out in outs if out["claims"]))
    low, high = interval(good, claims)
    return f"{good / max(claims, 1):.1%} of {claims} claims ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--errors", type=int, default=250, help="in each language")
    parser.add_argument("--written", type=int, default=100, help="scenes to write about")
    parser.add_argument("--writer", default="", help="mini:llm, a folder or a Hub id; a stand-in by default")
    options = parser.parse_args()
    report = {}
    if options.scenes:
        report["agreement"] = agreement(options.scenes)
        report["errors"] = errors(options.errors)
    if options.written:
        report["written"] = written(options.written, options.writer)
    print(json.dumps(report, indent=1, ensure_ascii=False))
