"""One of every cluster stays. Oracle: rows of which the test knows what repeats what."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from skimage import data

from filters.near_duplicates import NearDuplicates

CAT, CUP, ROCKET, GIRL = (
    Image.fromarray(getattr(data, n)()).resize((64, 64)) for n in ("chelsea", "coffee", "rocket", "astronaut")
)


def stored(picture, form="PNG"):
    buffer = BytesIO()
    picture.save(buffer, format=form)
    return buffer.getvalue()


def row(id_, caption, instruction, before, after, form="PNG", **more):
    return {"id": id_, "parent_id": id_.rsplit("/", 1)[0], "original_prompt": caption, "edit_prompt": instruction,
            "original_image": stored(before, form), "edited_image": stored(after, form), **more}  # fmt: skip


ROWS = [
    row("b/0/0", "a cat on a sofa", "make it a rocket", CAT, ROCKET, clip_sim_dir=0.2),
    row("b/0/1", "a cat on a sofa", "make it a rocket", CUP, ROCKET, clip_sim_dir=0.5),  # another sample of one edit
    row("b/0/2", "a cat on a sofa", "make it a rocket", CAT, ROCKET, "JPEG", clip_sim_dir=0.3),  # stored again
    row("a/0/0", "A cat, on a sofa.", "Make it a rocket!", GIRL, CUP, clip_sim_dir=0.1),  # the same words
    row("c/0/0", "an astronaut", "turn her into a cat", GIRL, CAT, clip_sim_dir=0.1),
    row("d/0/0", "two people talking", "replace them by a cup", CAT, ROCKET, clip_sim_dir=0.4),  # the same pictures
]


def dropped(rows=ROWS, **settings):
    stage = NearDuplicates(**settings)
    scored = [row | scores for row, scores in zip(rows, stage.score(rows, run=None), strict=True)]
    columns = {name: np.array([r.get(name) for r in scored], dtype=object) for name in stage.decides_on()}
    masks = stage.decide_all(columns)
    assert tuple(masks) == stage.reasons
    return {reason: {rows[i]["id"] for i in np.flatnonzero(mask)} for reason, mask in masks.items() if mask.any()}


def test_text_keeps_all_samples_of_the_first_or_the_best_edit():
    assert dropped(compare="text") == {"duplicate_text": {"b/0/0", "b/0/1", "b/0/2"}}
    assert dropped(compare="text", best_by="clip_sim_dir") == {"duplicate_text": {"a/0/0"}}


def test_pictures_keep_the_first_or_the_best_row():
    assert dropped(compare="pictures") == {"duplicate_picture": {"b/0/2", "d/0/0"}}
    assert dropped(compare="pictures", best_by="clip_sim_dir") == {"duplicate_picture": {"b/0/0", "b/0/2"}}


def test_either_and_both():
    """Of b/0/0 and d/0/0, alike in pictures, the first is gone by its words already: d/0/0 stays."""
    assert dropped(compare="either") == {"duplicate_text": {"b/0/0", "b/0/1", "b/0/2"}}
    assert dropped(compare="either", best_by="clip_sim_dir") == {
        "duplicate_text": {"a/0/0"},
        "duplicate_picture": {"b/0/0", "b/0/2"},
    }
    assert dropped(compare="both") == {"duplicate_pair": {"b/0/2"}}


@pytest.mark.parametrize("compare", ["text", "pictures", "either", "both"])
def test_the_order_of_rows_changes_nothing(compare):
    for best_by in (None, "clip_sim_dir"):
        want = dropped(compare=compare, best_by=best_by)
        for shift in range(1, len(ROWS)):
            assert dropped(ROWS[shift:] + ROWS[:shift], compare=compare, best_by=best_by) == want


def test_what_cannot_be_compared_is_kept():
    broken = [r | {"id": f"x/{i}", "edited_image": b"", "original_prompt": None, "edit_prompt": ""}
              for i, r in enumerate(ROWS)]  # fmt: skip
    for compare in ("text", "pictures", "either", "both"):
        assert dropped(broken, compare=compare) == {}
        assert dropped([], compare=compare) == {}
        assert dropped(ROWS[:1], compare=compare) == {}
    unscored = [r | {"clip_sim_dir": None} for r in ROWS]
    assert dropped(unscored, compare="pictures", best_by="clip_sim_dir") == dropped(compare="pictures")


def test_columns_follow_what_is_compared():
    text = NearDuplicates(compare="text", texts=("edit_prompt",))
    assert [f.name for f in text.reads] == ["edit_prompt"]
    assert [f.name for f in text.writes] == ["text_signature"]
    pictures = NearDuplicates(compare="pictures")
    assert [f.name for f in pictures.reads] == ["original_image", "edited_image"]
    assert dropped(compare="text", texts=("edit_prompt",)) == dropped(compare="text")


def test_settings_are_checked():
    for wrong in (
        {"compare": "neither"},
        {"min_text": 0},
        {"max_bits": 65},
        {"texts": ("a", "b", "c")},
        {"similar": 1},
    ):
        with pytest.raises(ValidationError):
            NearDuplicates(**wrong)


def talk(id_, question, answer, *pictures, form="PNG"):
    from limbeck.turns import assistant, user

    return {"id": id_, "parent_id": id_, "messages": [user(0, question), assistant(answer)],
            "images": [stored(picture, form) for picture in pictures]}  # fmt: skip


def test_conversations_repeat_where_both_words_and_pictures_do():
    rows = [
        talk("a", "What does the animal on the sofa look like?", "It is a tabby cat with green eyes.", CAT),
        talk(
            "b", "what does the animal on the sofa look like", "It is a tabby cat, with green eyes!", CAT, form="JPEG"
        ),
        talk("c", "What does the animal on the sofa look like?", "It is a tabby cat with green eyes.", ROCKET),
        talk("d", "Is anything in this picture made of metal?", "Nothing metallic can be seen here.", CAT),
        talk("e", "What does the animal on the sofa look like?", "It is a tabby cat with green eyes.", CAT, ROCKET),
        talk("f", "What does the animal on the sofa look like?", "It is a tabby cat with green eyes.", ROCKET, CAT),
        talk("g", "What does the animal on the sofa look like?", "It is a tabby cat with green eyes."),
        talk(
            "h",
            "What does the animal on the sofa look like?",
            "It is a tabby cat with green eyes.",
            CAT,
            ROCKET,
            GIRL,
            form="JPEG",
        ),
    ]
    settings = {"compare": "both", "texts": ("messages",), "pictures": ("images",)}
    assert dropped(rows, **settings) == {"duplicate_pair": {"b", "h"}}
    assert [field.name for field in NearDuplicates(**settings).reads] == ["messages", "images"]
