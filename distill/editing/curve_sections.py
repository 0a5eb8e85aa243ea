"""The card's curves and pictures. Measured once for each set of weights, rows and judge: as JSON, beside the student."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from distill import batches
from distill.dataset import contents, write_json
from distill.editing import curves, judging

if TYPE_CHECKING:
    from distill.editing.editing_student import EditingStudent
    from distill.work import Work

SHEET = "edits.png"
_SHOWN = 10


def sections(student: EditingStudent, folder: Path, work: Work) -> str:
    """Markdown; the contact sheet goes into `folder`, the figures beside it.

    The curve over s_I is measured on test rows. That over steps, by which somebody may choose how many a teacher needs,
    is measured on development rows: no setting is chosen by test rows.
    """
    _, dev, test = batches.held_out(work.dataset, work.recipe)
    found = _measured(student, folder, work, dev[: student.curve_rows], test[: student.curve_rows])
    names = [metric.name for metric in judging.METRICS[student.measure]]
    parts = []
    for name, each in found.items():
        if each["scales"]:
            parts.append(
                f"### Direction against preservation: {name}\n\n{len(test[: student.curve_rows])} test rows.\n\n"
                + curves.table(each["scales"], ["image", *names])
            )
        if each["steps"]:
            enough = curves.fewest_steps(each["steps"], names[0])
            parts.append(
                f"### Steps: {name}\n\n{len(dev[: student.curve_rows])} development rows. "
                f"{enough} steps are the fewest within one point of the most.\n\n"
                + curves.table(each["steps"], ["steps", "evaluations", *names])
            )
    rows = work.dataset.rows(_spread(work, test))
    edits = {
        name: curves.edited(model, rows, student.side(work), model.asked)
        for name, model in student.compared(folder, work).items()
    }
    curves.sheet(rows, student.side(work), edits, folder / SHEET)
    parts.append(f"### Edits of test rows\n\n![edits]({SHEET})")
    return "\n\n".join(parts)


def _measured(student: EditingStudent, folder: Path, work: Work, dev: Any, test: Any) -> dict[str, Any]:
    models = student.compared(folder, work)
    known = hashlib.blake2b(digest_size=8)
    for file in sorted(folder.rglob("*.safetensors")):
        known.update(file.read_bytes())
    rows = [contents(work.dataset, split) for split in (dev, test)]
    asked = [vars(model.asked) for model in models.values()]
    known.update(orjson.dumps([student.curve_scales, student.curve_steps, asked, rows, work.judged_by]))
    path = folder.parent / "curves" / f"{known.hexdigest()}.json"
    if not path.is_file():
        found, size, judge = {}, student.side(work), work.judge()
        for name, model in models.items():
            scales = curves.over_scales(model.asked, student.curve_scales) if student.has_scales(name) else []
            steps = curves.over_steps(model.asked, student.curve_steps)
            found[name] = {
                "scales": curves.curve(model, work.dataset.rows(test), judge, size, scales),
                "steps": curves.curve(model, work.dataset.rows(dev), judge, size, steps),
            }
        write_json(path, found)
    return orjson.loads(path.read_bytes())


def _spread(work: Work, test: Any) -> list[int]:
    """Test rows of as many edit types as there are, the first of each."""
    by_kind: dict[str, int] = {}
    for p in test:
        by_kind.setdefault(str(work.dataset.row(p).get("edit_type")), int(p))
        if len(by_kind) == _SHOWN:
            break
    chosen = list(by_kind.values())
    return [*chosen, *(int(p) for p in test if int(p) not in chosen)][:_SHOWN]
