"""Set-of-Mark. Oracles: the renderer's masks pixel by pixel, WCAG contrast, and numbers read back from the pixels."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from limbeck.marks import MIN_RADIUS_PX, Mark, disc, draw, place
from limbeck.storybook import render, sample_scene

SIZE = 224


def marked_scenes(n, seed=5):
    rng, dealer = np.random.default_rng(seed), random.Random(seed)
    for _ in range(n):
        picture = render(sample_scene(rng), SIZE)
        marks = place(picture.masks, dealer)
        yield picture, marks, draw(picture.image, marks)


def test_every_mark_is_inside_its_thing_and_touches_no_other():
    total = things = 0
    for picture, marks, drawn in marked_scenes(30):
        covered = np.zeros(picture.image.shape[:2], int)
        for mark in marks:
            rows, columns = disc(mark, SIZE, SIZE)
            assert picture.masks[mark.index][rows, columns].all()
            covered[rows, columns] += 1
        assert covered.max(initial=0) <= 1
        changed = (drawn != picture.image).any(-1)
        assert not changed[covered == 0].any(), "nothing outside the discs changes"
        assert sorted(m.number for m in marks) == list(range(1, len(marks) + 1))
        total, things = total + len(marks), things + len(picture.masks)
    assert total >= 0.97 * things, "nearly every thing has room for a mark"


def luminance(rgb):
    """Relative luminance of WCAG 2.2."""
    c = np.asarray(rgb, float) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def read(patch):
    """The number that fits a square patch best, among 1 to 9 drawn afresh at several sizes and places."""
    light = patch.mean(-1) / 255
    best = (-1.0, 0)
    for number in range(1, 10):
        for points in range(6, len(patch) + 1):
            font = ImageFont.load_default(points)
            canvas = Image.new("L", light.shape[::-1], 0)
            ImageDraw.Draw(canvas).text(
                (light.shape[1] / 2, light.shape[0] / 2), str(number), fill=255, font=font, anchor="mm"
            )
            ink = np.asarray(canvas, float) / 255
            for dy in (-2, -1, 0, 1, 2):
                score = np.corrcoef(np.roll(ink, dy, 0).ravel(), light.ravel())[0, 1]
                best = max(best, (float(np.nan_to_num(score)), number))
    return best[1]


def test_numbers_are_legible():
    for number in range(1, 10):
        image = np.full((40, 40, 3), 128, np.uint8)
        mark = Mark(number, 0, 20.5 / 40, 20.5 / 40, MIN_RADIUS_PX)
        drawn = draw(image, [mark])
        rows, columns = disc(mark, 40, 40)
        light = luminance(drawn[rows, columns])
        assert (light.max() + 0.05) / (light.min() + 0.05) >= 7, "enhanced contrast"
        patch = drawn[14:28, 14:28].copy()
        inside = np.zeros((40, 40), bool)
        inside[rows, columns] = True
        patch[~inside[14:28, 14:28]] = (16, 16, 20)
        assert read(patch) == number


def test_numbers_tell_nothing_of_the_place():
    """Of 300 three-thing layouts each thing gets each number about 100 times (5 standard deviations are 41)."""
    masks = np.zeros((3, 60, 90), bool)
    for i in range(3):
        masks[i, 10:50, 30 * i + 2 : 30 * i + 28] = True
    rng = random.Random(1)
    dealt = Counter((mark.index, mark.number) for _ in range(300) for mark in place(masks, rng))
    assert len(dealt) == 9
    assert all(abs(count - 100) < 41 for count in dealt.values())


def test_thin_hidden_and_shared_things_get_no_mark():
    masks = np.zeros((4, 60, 60), bool)
    masks[0, 5:55, 5:9] = True  # thin
    masks[2, 20:50, 20:50] = masks[3, 20:50, 20:50] = True  # the same pixels twice: nobody's
    assert place(masks, random.Random(0)) == []
    assert place(masks[2:3], random.Random(0))[0].number == 1
    assert place(np.zeros((0, 8, 8), bool), random.Random(0)) == []
