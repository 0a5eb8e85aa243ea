"""The card, held to a golden file, to the Hub's own parser and to the counts of a build."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from small_build import small_build

from limbeck import catalog
from limbeck.card import card
from limbeck.card_words import ABOUT, ABOUT_SCORES, RECORD_WORDS
from limbeck.records import COLUMNS, RECORDS
from limbeck.report.truth import Success, Truth
from limbeck.summary import Cost, GroupYield, ModelUse, StageCount, Summary, Threshold, size_category

GOLDEN = Path(__file__).with_name("golden_card.md")
SUMMARY = Summary(
    name="meadow-edits",
    title="Meadow | edits",
    record="EditPair",
    license="cc0-1.0",
    seed=7,
    digest="00ff",
    rows_in=520,
    judged=11840,
    kept=1412,
    dropped=10428,
    failed=3,
    stages=(
        StageCount("source", "storybook", "source", 520, 500, 20, 0, {"duplicate": 20}),
        StageCount("edit_pairs", "edit_pairs", "generator", 500, 11840, 0, 3, {}, "Renders before and after."),
        StageCount(
            "clip_pair",
            "clip_pair",
            "filter",
            11840,
            1412,
            10428,
            0,
            {"direction_low": 9000, "copy": 1800},
            "Drops | bad pairs.",
        ),
    ),
    by_type=(
        GroupYield("add", 6000, 400, 0, {"direction_low": 5000, "copy": 600, "image_low": 1}),
        GroupYield("move", 5840, 1012),
    ),
    splits={"train": 1300, "validation": 112},
    columns=(("original_image", "image"), ("edit_prompt", "string"), ("clip_pair.text_truncated", "bool")),
    models=(
        ModelUse("painter", "mini:diffusion", ("image",), ("edit_pairs",), "", "mini:diffusion:9a8b", "cc0-1.0"),
        ModelUse("writer", "m at http://h/v1"),
    ),
    thresholds=(
        Threshold("clip_pair", "min_direction", 0.2, (("edit_type", "add", 0.1),)),
        Threshold("best_of", "rank", {"clip_sim_dir": 1.0}),
    ),
    cost=Cost(0.41, "EUR", 512, 81920, 40111),
    description="Edits of a *meadow*.",
    languages=("en",),
    tags=("meadow",),
    licenses={"cc0-1.0": 500},
    sources={"storybook": 500},
    versions={"limbeck": "0.1.0"},
)
TRUTH = Truth(
    before=Success(n=2000, right=1000), after=Success(n=400, right=320, low=0.76, high=0.84), reader_error=0.01
)


def test_golden():
    """Oracle: the reviewed text in golden_card.md; run with LIMBECK_GOLDEN=write to write it anew."""
    text = card(SUMMARY, TRUTH)
    if os.environ.get("LIMBECK_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "the card changed; see this test's docstring"


def test_the_hub_reads_the_front_matter():
    """Oracle: huggingface_hub's parser."""
    from huggingface_hub import DatasetCard

    data = DatasetCard(card(SUMMARY, TRUTH)).data
    assert data.license == "cc0-1.0"
    assert data.size_categories == ["1K<n<10K"]
    assert data.pretty_name == "Meadow | edits"
    assert [each["split"] for each in data.configs[0]["data_files"]] == ["train", "validation"]
    assert {"synthetic", "limbeck", "meadow"} <= set(data.tags)


def test_every_canonical_column_is_described():
    assert ABOUT.keys() == COLUMNS.keys(), "add what the column holds to limbeck/card_words.py"
    assert RECORD_WORDS.keys() == RECORDS.keys()


def test_every_column_of_a_filter_is_described(tmp_path):
    (tmp_path / "against").write_bytes(b"a file")
    own = set()
    for cls in catalog.available().values():
        needed = {n: (str(tmp_path / n),) for n, field in cls.__pydantic_fields__.items() if field.is_required()}
        own |= {field.name for field in cls(**needed).writes} - COLUMNS.keys()
    assert own == ABOUT_SCORES.keys(), "say what the column holds in limbeck/card_words.py"


@pytest.mark.parametrize(("record", "models", "source_pictures", "said"), [
    ("MotionClip", (), False, "The clips were rendered by a program; nothing in them happened."),
    ("VisualInstruction", (), False, "The texts were made by programs. The pictures are drawings of a program."),
    ("VisualInstruction", None, True, "The texts were made by models. The pictures come from the sources below."),
])  # fmt: skip
def test_the_card_says_who_made_what(record, models, source_pictures, said):
    models = SUMMARY.models if models is None else models
    text = card(replace(SUMMARY, record=record, models=models), source_pictures=source_pictures)
    assert f"> **Synthetic media.** {said} Say so where you show them." in text
    assert "edits that they see badly" not in text


def test_words_from_outside_stay_in_their_place():
    hostile = "<img src=x onerror=alert(1)> | `x`\n# heading"
    changed = replace(SUMMARY, title=hostile, by_type=(GroupYield(hostile, 5, 1, 0, {hostile: 4}),))
    text = card(changed).split("---\n", 2)[2]
    assert "<img" not in text
    assert "\n# heading" not in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {
        3,
        4,
        6,
        7,
    }  # two, three, five and six columns: no cell has split a row


def test_a_builds_card_has_the_builds_counts(tmp_path):
    """Oracle: what the runner counted, and the rule in small_build."""
    built = small_build(tmp_path)
    text = (built.path / "README.md").read_text(encoding="utf-8")
    assert "28 edit pairs (train 17, validation 11)" in text
    assert "from 13 source rows: 44 were made, 28 kept (64%), 16 dropped, 1 failed." in text
    assert "| add | 24 | 18 | 75% | direction_low (6) |" in text
    assert "| `direction.least` | 0.2 | add: 0.1 |" in text
    assert "| direction: direction_low | 16 |" in text
    assert "| 13 source rows | cc-by-4.0 |" in text
    for name in built.lock["result"]["splits"]:
        assert f"path: data/{name}-*" in text
    for field in built.fields():
        assert f"| `{field.name}` |" in text


@pytest.mark.parametrize(
    ("rows", "words"), [(999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K"), (10**9, "1B<n<10B")]
)
def test_size_categories(rows, words):
    """Oracle: the Hub's list of them."""
    assert size_category(rows) == words


def test_a_build_that_kept_nothing_says_so():
    nothing = replace(SUMMARY, kept=0, splits={}, by_type=())
    assert "**No row was kept.**" in card(nothing)
