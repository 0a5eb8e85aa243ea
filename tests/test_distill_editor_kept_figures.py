"""What is kept beside a teacher's answers and beside a student: the teacher's edits, the card's curves.

Oracles: an editor that turns pictures into their negatives; curves that say who judged which rows.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from distill.editing import curve_sections, judging
from distill.students.fast_editor import FastEditor
from distill.work import Work
from limbeck.models.edit_diffusers import Asked
from limbeck.models.spec import ModelSpec
from limbeck.pictures import png

SIDE = 8


class Rows:
    """A dataset's ids, contents and pictures."""

    def __init__(self, **colours):
        self.ids = list(colours)
        self.digests = [bytes([colour] * 8) for colour in colours.values()]
        self._colours = list(colours.values())

    def at(self, row_id):
        return self.ids.index(row_id)

    def rows(self, positions):
        return [
            {
                "id": self.ids[p],
                "edit_prompt": "turn it",
                "original_image": png(np.full((SIDE, SIDE, 3), self._colours[p], np.uint8)),
            }
            for p in positions
        ]


class Negative:
    """An editor that says how often it was asked."""

    def __init__(self, meanwhile=lambda: None):
        self.edited, self._meanwhile = 0, meanwhile

    def edit_pixels(self, before, told, noise, asked):
        self.edited += len(before)
        self._meanwhile()
        return 255 - before

    def evaluations(self, asked):
        return 3 * asked.steps


@pytest.fixture
def teaching(monkeypatch):
    """Makes an editor the teacher."""
    return lambda editor: monkeypatch.setattr(FastEditor, "teaching_editor", lambda self, work: editor) or editor


def work_of(dataset, folder):
    cache = SimpleNamespace(folder=folder, fingerprint={"weights": "a"})
    memo = {"teacher parts": SimpleNamespace(asked=Asked(2, 7.5, 1.5)), "latent shape": SimpleNamespace(size=SIDE)}
    return SimpleNamespace(dataset=dataset, cache=cache, memo=memo)


def test_pairs_repainted_under_their_ids_are_edited_again(tmp_path, teaching):
    """Oracle: the negatives of the very pictures; how many rows were edited."""
    editor, student = teaching(Negative()), FastEditor()
    for colours, edited in (((10, 20), 2), ((10, 20), 2), ((10, 90), 4), ((10, 20), 4)):
        dataset = Rows(a=colours[0], b=colours[1])
        found = student.teacher_answers(dataset.rows([0, 1]), work_of(dataset, tmp_path))
        assert found[judging.EDITED][:, 0, 0, 0].tolist() == [255 - colour for colour in colours]
        assert found[judging.EVALUATIONS].tolist() == [6, 6]
        assert editor.edited == edited


def test_one_process_makes_the_teachers_edits_and_the_others_wait(tmp_path, teaching):
    """Oracle: how many rows were edited, when another process asks for them in the middle of it."""
    dataset, student, found = Rows(a=10, b=20), FastEditor(), []

    def answers():
        found.append(student.teacher_answers(dataset.rows([0, 1]), work_of(dataset, tmp_path)))

    other = threading.Thread(target=answers, daemon=True)

    def passes_by():
        if not other.ident:
            other.start()
            other.join(0.5)  # time enough to edit everything, unless it waits

    editor = teaching(Negative(passes_by))
    answers()
    other.join(30)
    assert not other.is_alive()
    assert editor.edited == 2
    assert [each[judging.EDITED][:, 0, 0, 0].tolist() for each in found] == [[245, 235]] * 2
    assert not list(tmp_path.glob("*.tmp.npz"))


def test_curves_are_of_the_rows_and_the_judge_that_the_card_names(tmp_path, monkeypatch):
    """Oracle: a curve that says who judged which rows; it is measured anew with either, and else read back."""
    measured = []

    def curve(model, rows, judge, size, asked):
        measured.append(judge)
        return [{"judge": judge, "rows": [row["id"] for row in rows]}] if asked else []

    monkeypatch.setattr(curve_sections.curves, "curve", curve)
    (tmp_path / "student").mkdir()
    (tmp_path / "judge").mkdir()
    asked = Asked(2, 7.5, 1.5)
    student = SimpleNamespace(
        curve_scales=(1.0,),
        curve_steps=(4,),
        compared=lambda folder, work: {"student": SimpleNamespace(asked=asked)},
        has_scales=lambda name: True,
        side=lambda work: SIDE,
    )

    def shown(dataset, dev, test, judge="mini:reader"):
        recipe = SimpleNamespace(
            evaluate=SimpleNamespace(judge=judge),
            models={"own": ModelSpec(id=str(tmp_path / "judge"))},
            folder=tmp_path,
        )
        work = Work(recipe, dataset, memo={("judge", judge): judge})
        before = len(measured)
        (found,) = curve_sections._measured(student, tmp_path / "student", work, dev, test).values()
        (scale,), (steps,) = found["scales"], found["steps"]
        assert scale == {"judge": judge, "rows": [dataset.ids[p] for p in test]}
        assert steps == {"judge": judge, "rows": [dataset.ids[p] for p in dev]}
        return len(measured) > before

    rows = Rows(a=1, b=2, c=3, d=4)
    assert shown(rows, [0, 1], [2, 3])
    assert not shown(rows, [0, 1], [2, 3])
    assert shown(rows, [0, 1], [2, 3], judge="own")
    assert shown(rows, [0, 1], [2, 1]), "other test rows, as many"
    assert shown(rows, [3, 1], [2, 1]), "other development rows, as many"
    assert shown(Rows(a=1, b=2, c=3, d=5), [0, 1], [2, 3]), "a row that was repainted"
    assert not shown(rows, [0, 1], [2, 3], judge="own")
    (tmp_path / "judge" / "model.safetensors").write_bytes(b"trained on")
    assert shown(rows, [0, 1], [2, 3], judge="own"), "a judge whose weights have changed"
