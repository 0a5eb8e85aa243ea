"""The contract of every stage of visual instructions: one result whatever the order, batch and company. Oracle: invariants."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from question_rows import made, storybook
from tiny_detectors import tiny_grounding_dino, tiny_sam2
from tiny_scorers import tiny_clip

from filters.answers_true import AnswersTrue
from filters.balance import Balance
from filters.clip_relevance import ClipRelevance
from filters.held_out import HeldOut
from filters.judge import Judge
from filters.repeated_questions import RepeatedQuestions
from filters.source_leak import SourceLeak
from generators.marked_pictures import MarkedPictures
from generators.object_masks import ObjectMasks, numbered
from generators.visual_conversations import VisualConversations
from generators.visual_descriptions import VisualDescriptions
from generators.visual_questions import VisualQuestions
from generators.visual_reasoning import VisualReasoning
from limbeck import models
from limbeck.models.roles import ChatAnswer
from limbeck.models.spec import ModelSpec
from limbeck.pictures import png
from limbeck.questions.teaching import example
from limbeck.questions.view import View
from limbeck.storybook import Scene, render
from limbeck.testing import check_stage

SCENES = storybook(5, seed=51)
QUESTIONS = made(VisualQuestions(per_scene=4), SCENES)
MARKED = made(MarkedPictures(size_px=160), SCENES)
PHOTOS = []
for _row in SCENES:
    _view = View(Scene.from_json(_row["scene"]), 160)
    PHOTOS.append({
        "id": _row["id"], "image": _view.png, "mask_image": numbered(_view.picture.masks),
        "boxes": [{"image": 0, "name": t.kind, "box": _view.box(t)} for t in _view.scene.things],
    })  # fmt: skip


class Writer:
    """Answers the miniature's prompts as it is taught to; a judge's with a rating that hangs on the text."""

    fingerprint, sees, prompt_style = "writer", True, "short"
    world = {"visual_tasks": ["conversation", "description", "reasoning"], "languages": ["en"]}  # noqa: RUF012
    scenes = {row["caption"]: row["scene"] for row in SCENES}  # noqa: RUF012

    async def complete(self, messages, **_):
        content = messages[-1]["content"]
        if not isinstance(content, str):
            rating = 1 + sum(map(ord, content[-1]["text"])) % 5
            return ChatAnswer(f'{{"true": {rating}, "answers": 5, "seen": 5, "written": 4, "reason": ""}}')
        told = dict(line.split(": ", 1) for line in content.splitlines())
        scene = Scene.from_json(self.scenes[told["caption"]])
        return ChatAnswer(example(scene, random.Random(told["caption"]), told["write"])[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    tiny_clip(folder / "clip")
    tiny_grounding_dino(folder / "dino", spread=2.0)
    tiny_sam2(folder / "sam")
    pictures = [png(render(Scene.from_json(row["scene"])).image) for row in SCENES[:2]]
    pq.write_table(pa.table({"image": pictures}), folder / "held.parquet")
    return folder


CASES = {
    "visual_questions": (VisualQuestions, {"per_scene": 4}, SCENES),
    "visual_questions of pairs": (VisualQuestions, {"of": "edit_pairs"}, [
        {"id": f"p{i}", "original_prompt": "a big red ball on the left, on grass, by day", "edit_prompt": edit,
         "original_image": PHOTOS[0]["image"], "edited_image": PHOTOS[1]["image"]}
        for i, edit in enumerate(("make the ball blue", "make it night", "stand on your head"))
    ]),
    "marked_pictures": (MarkedPictures, {"size_px": 160}, SCENES),
    "marked_pictures of masks": (MarkedPictures, {"of": "masks"}, PHOTOS),
    "object_masks": (ObjectMasks, {"detector": "detector", "names": ("cat", "house"), "min_score": 0.0, "min_area": 0.0}, PHOTOS),
    "object_masks of boxes": (ObjectMasks, {"min_area": 0.0}, PHOTOS),
    "visual_conversations": (VisualConversations, {}, SCENES),
    "visual_descriptions": (VisualDescriptions, {"per_picture": 2}, SCENES),
    "visual_reasoning": (VisualReasoning, {}, SCENES),
    "answers_true": (AnswersTrue, {}, QUESTIONS),
    "answers_true of marks": (AnswersTrue, {}, MARKED),
    "balance": (Balance, {"tolerance": 0.0}, QUESTIONS),
    "source_leak": (SourceLeak, {}, QUESTIONS),
    "clip_relevance": (ClipRelevance, {"min_words": 3, "batch_size": 4}, QUESTIONS),
    "held_out": (HeldOut, {"against": ("held.parquet",)}, QUESTIONS),
    "judge": (Judge, {}, QUESTIONS),
    "repeated_questions": (RepeatedQuestions, {}, [*QUESTIONS, *({**row, "id": f"{row['id']}/again"} for row in QUESTIONS[:9])]),
}  # fmt: skip
OUTCOMES = {"visual_questions of pairs": {"not_a_scene"}}


def test_no_stage_of_visual_instructions_is_left_out():
    assert len({cls for cls, _, _ in CASES.values()}) == 13


@pytest.mark.parametrize("name", CASES)
def test_contract(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    cls, settings, rows = CASES[name]
    roles = {"matcher": ("clip", "score"), "detector": ("dino", "detect"), "segmenter": ("sam", "segment")}
    loaded = {
        setting: models.load(ModelSpec(id=f"./{place}"), role, folder) for setting, (place, role) in roles.items()
    }
    table = check_stage(cls(**settings), rows, models={**loaded, "writer": Writer(), "judge": Writer()}, tolerance=1e-3)
    assert {reason for reason in table["reason"].to_pylist() if reason} == OUTCOMES.get(name, set())
    assert table.num_rows >= len(rows) or name.startswith("repeated")
    assert np.all([value is not None for value in table["id"].to_pylist()])
