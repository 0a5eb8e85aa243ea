"""The storybook. Oracles: the grammar's inverse, pixels outside a thing's mask, hand-worked edits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from limbeck.storybook import (
    Edit,
    Scene,
    Thing,
    caption,
    parse_caption,
    parse_instruction,
    render,
    sample_edit,
    sample_scene,
    split_of,
)
from limbeck.storybook.attributes import attributes, scene_of
from limbeck.storybook.edits import EDIT_TYPES, _all_edits, _wordings, instruction
from limbeck.storybook.source import rows
from limbeck.storybook.truth import asked_for, judge
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, RGB, SIZES, TIMES


def scenes(n: int, seed: int = 0, **options) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **options) for _ in range(n)]


BALL = Scene((Thing("ball", "red", "big", "left"), Thing("cat", "blue", "small", "right")))


def test_world_has_the_promised_size():
    """Oracle: the project's own requirement."""
    counts = [len(v) for v in (KINDS, COLOURS, SIZES, PLACES, GROUNDS, TIMES, EDIT_TYPES)]
    assert all(have >= want for have, want in zip(counts, (8, 8, 2, 3, 4, 3, 10), strict=True)), counts


def test_captions_parse_back():
    """Oracle: parse_caption is the inverse of caption, on content."""
    for scene in scenes(500):
        parsed = parse_caption(caption(scene))
        assert parsed is not None
        assert parsed.same_content(scene)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a dragon",
        "a big red ball",
        "a big red ball on the left",
        "a big red ball on the left, on grass",
        "a big red ball on the left, on grass, at night, at night",
        "a big red ball on the left and a small red ball on the right, on grass, at night",
        "a big red ball on the left and a small blue cat on the left, on grass, at night",
        "a big red ball on the left, on grass, at night, <b>",
        "왼쪽에 큰 빨간 공",
        "a big red ball on the left " * 500,
    ],
)
def test_captions_outside_the_grammar_are_none(text):
    """Oracle: hand-written captions that no scene has."""
    assert parse_caption(text) is None


def test_every_wording_means_one_edit():
    """Oracle: all wordings of all edits are distinct, and each parses to the edit it words."""
    worded = {}
    for edit, wording in ((e, w) for e in _all_edits() for w in _wordings(e)):
        assert worded.setdefault(wording, edit) == edit, wording
        assert parse_instruction(wording) == edit
    assert len(worded) > 1000


def test_sampled_edits_change_exactly_what_they_say():
    """Oracle: attributes before and after, field by field."""
    allowed = {"recolour": 1, "resize": 1, "ground": 1, "time": 1, "weather": 1, "style": 1, "replace": 1}
    seen = set()
    for i, scene in enumerate(scenes(400)):
        edit = sample_edit(np.random.default_rng(i), scene)
        assert edit is not None
        after = edit.apply(scene)
        assert after is not None
        seen.add(edit.type)
        differ = int((attributes(scene) != attributes(after)).sum())
        assert differ == allowed.get(edit.type, 3 if edit.type in ("add", "remove") else 6), edit
        assert parse_instruction(instruction(edit, np.random.default_rng(i))) == edit
    assert seen == set(EDIT_TYPES)


def test_edits_that_make_no_sense_are_none():
    """Oracle: hand-worked."""
    assert Edit("recolour", "ball", "red").apply(BALL) is None  # is red already
    assert Edit("recolour", "tree", "red").apply(BALL) is None  # not there
    assert Edit("move", "ball", "right").apply(BALL) is None  # taken
    assert Edit("replace", "ball", "cat").apply(BALL) is None  # there already
    assert Edit("time", value="day").apply(BALL) is None  # is day already
    alone = Scene((Thing("ball", "red", "big", "left"),))
    assert Edit("remove", "ball").apply(alone) is None  # nothing would be left


def test_scene_refuses_what_is_not_of_the_world():
    """Oracle: the message names value and choices."""
    with pytest.raises(ValueError, match="'teal' is not of the storybook's world; it knows red"):
        Thing("ball", "teal", "big", "left") and Scene((Thing("ball", "teal", "big", "left"),))
    with pytest.raises(ValueError, match="share a place"):
        Scene((Thing("ball", "red", "big", "left"), Thing("cat", "red", "big", "left")))
    with pytest.raises(ValueError, match="one to 3 things"):
        Scene(())


def test_scenes_round_trip_as_json_and_as_attributes():
    """Oracle: identity."""
    for scene in scenes(100):
        assert Scene.from_json(scene.to_json()) == scene
        found = scene_of(attributes(scene))
        assert found is not None
        assert found.same_content(scene)


def test_splits_go_by_content():
    """Oracle: another variation of a scene is in the same split; shares are 80, 8 and 12 in a hundred."""
    drawn = scenes(4000)
    assert all(split_of(s) == split_of(replace(s, variation=s.variation + 1)) for s in drawn[:200])
    share = {name: np.mean([split_of(s) == name for s in drawn]) for name in ("train", "validation", "test")}
    assert share["train"] == pytest.approx(0.80, abs=0.03)
    assert share["test"] == pytest.approx(0.12, abs=0.03)
    assert {split_of(s) for s in scenes(50, split="test")} == {"test"}


def test_rendering_is_a_function_of_the_scene():
    """Oracle: bytes."""
    scene = scenes(1)[0]
    assert (render(scene).image == render(scene).image).all()
    assert render(scene, 128).image.shape == (128, 128, 3)
    with pytest.raises(ValueError, match="at least 16 px"):
        render(scene, 8)


@pytest.mark.parametrize("size", [64, 160])
def test_masks_hold_everything_a_thing_covers(size):
    """Oracle: render without the thing; all that differs, but its shadow and outline, lies in its full mask."""
    for scene in scenes(40, seed=3, things=2):
        picture = render(scene, size)
        for i, thing in enumerate(scene.things):
            without = render(replace(scene, things=tuple(t for t in scene.things if t != thing)), size)
            strong = np.abs(picture.image.astype(int) - without.image).max(-1) > 60
            margin = _grown(picture.full_masks[i], 4 * size // 64)
            assert not (strong & ~margin).any()
            covered = picture.masks[i]
            assert covered.sum() > 20 * (size / 64) ** 2


def _grown(mask, steps):
    for _ in range(steps):
        mask = mask | np.roll(mask, 1, 0) | np.roll(mask, -1, 0) | np.roll(mask, 1, 1) | np.roll(mask, -1, 1)
    return mask


def test_recolouring_changes_only_the_thing():
    """Oracle: pixels outside the thing's mask and outline are the same bytes."""
    for scene in scenes(30, seed=4, things=2, split=None):
        plain = replace(scene, style="plain")
        thing = plain.things[0]
        after = Edit("recolour", thing.kind, "blue" if thing.colour != "blue" else "red").apply(plain)
        assert after is not None
        a, b = render(plain), render(after)
        outside = ~_grown(a.full_masks[0], 8)
        assert (a.image[outside] == b.image[outside]).all()
        assert (a.masks == b.masks).all()


def test_boxes_masks_and_depth_agree():
    """Oracle: a box is its mask's extent; where full masks overlap, the nearer thing has the pixel."""
    for scene in scenes(60, seed=5, things=3):
        p = render(scene)
        for mask, box in zip(p.masks, p.boxes, strict=True):
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        for i, j in itertools.permutations(range(3), 2):
            if p.depth_order[i] < p.depth_order[j]:
                assert not (p.masks[j] & p.full_masks[i]).any()
        assert (p.masks.sum(0) <= 1).all()


def test_main_colour_is_seen_in_the_mask():
    """Oracle: by day and plain, the commonest palette colour inside a thing's mask is its own."""
    palette = np.array([RGB[c] for c in COLOURS])
    hits = total = 0
    for scene in scenes(150, seed=6):
        scene = replace(scene, time="day", style="plain", weather="clear")
        p = render(scene)
        for thing, mask in zip(scene.things, p.masks, strict=True):
            pixels = p.image[mask] / 255
            nearest = np.linalg.norm(pixels[:, None] - palette, axis=-1)
            near = nearest.min(1) < 0.15
            votes = np.bincount(nearest.argmin(1)[near], minlength=len(COLOURS))
            hits += COLOURS[int(votes.argmax())] == thing.colour
            total += 1
    assert hits / total > 0.99


def test_source_rows_are_distinct_and_stable():
    """Oracle: a longer source begins with the shorter one; ids are unique."""
    short, long = list(rows(20, 7)), list(rows(50, 7))
    assert long[:20] == short
    assert len({r["id"] for r in long}) == 50
    assert {r["split"] for r in rows(10, 7, split="test")} == {"test"}
    with pytest.raises(ValueError, match="expected train, validation or test"):
        next(rows(1, 0, split="dev"))


def test_judging_hand_worked_pairs():
    """Oracle: five pairs whose verdict is plain."""
    text, told = caption(BALL), "make the ball blue"
    source, target = (attributes(s) for s in asked_for(text, told))
    untouched, elsewhere = source.copy(), target.copy()
    elsewhere[-3] = 2  # it is night as well
    wrong_before = source.copy()
    wrong_before[1] = COLOURS.index("green")
    before = np.stack([source, source, source, wrong_before, source])
    after = np.stack([target, untouched, elsewhere, target, target])
    verdicts = judge(before, after, [text] * 5, [told] * 4 + ["sing a song"])
    assert verdicts.right.tolist() == [True, False, False, False, False]
    assert verdicts.happened.tolist() == [True, False, True, False, False]
    assert verdicts.stayed.tolist() == [True, True, False, True, False]
    assert verdicts.asked.tolist() == [True] * 4 + [False]
