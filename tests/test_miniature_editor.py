"""The built-in editor on pictures that it never saw: the storybook's own renderings of test scenes.

Oracle: the scene graph after the instruction, read from the pictures by mini:reader.
"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from limbeck import models
from limbeck.errors import LimbeckError
from limbeck.models.reader import Reader, as_pixels
from limbeck.models.roles import EditRequest
from limbeck.models.spec import ModelSpec
from limbeck.storybook.edits import instruction, sample_edit
from limbeck.storybook.grammar import caption
from limbeck.storybook.render import render
from limbeck.storybook.scene import sample_scene
from limbeck.storybook.truth import judge

PICTURES = 48


@pytest.fixture(scope="module")
def editor():
    return models.load(ModelSpec(id="mini:editor"), "edit")


def test_it_edits_pictures_that_it_never_saw(editor):
    rng, asked = np.random.default_rng(5), []
    while len(asked) < PICTURES:
        scene = sample_scene(rng, split="test")
        if edit := sample_edit(rng, scene):
            asked.append((scene, instruction(edit)))
    before = [Image.fromarray(render(scene).image) for scene, _ in asked]
    after = editor.edit(
        [EditRequest(b, told, seed=n) for n, (b, (_, told)) in enumerate(zip(before, asked, strict=True))]
    )
    reader = Reader.load()
    said = judge(
        reader.read(as_pixels(before)),
        reader.read(as_pixels(after)),
        [caption(s) for s, _ in asked],
        [t for _, t in asked],
    )
    assert said.asked.all()
    assert said.right.mean() > 0.7


def test_it_needs_four_passes(editor):
    assert editor.asked.steps == 4
    assert editor.evaluations(editor.asked) == 4


def test_instructions_outside_its_world_are_refused(editor):
    picture = Image.fromarray(render(sample_scene(np.random.default_rng(0))).image)
    with pytest.raises(LimbeckError, match="unicorn"):
        editor.edit([EditRequest(picture, "add a unicorn", seed=0)])
