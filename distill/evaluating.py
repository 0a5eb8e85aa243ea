"""Scores a finished student once more, from the files that are given out: `limbeck evaluate OUT`."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from distill import batches, evaluate, exports, opening
from distill.dataset import write_json
from distill.progress import Watcher
from distill.recipe import checked
from distill.student import Student
from limbeck.errors import BuildNotFound, RequestError


def evaluate_student(
    out: str | Path, model: str | Path | None = None, *, device: str = "auto", watcher: Watcher | None = None
) -> dict[str, Any]:
    """Evaluates every format of a student, and writes `OUT/evaluation.json`.

    Args:
        out: folder that `limbeck distill` wrote.
        model: another folder that holds the same kind of student; nothing is written then.
        device: a torch device, or `auto`.
        watcher: is told how far it is.

    Returns:
        `judge`, `test_rows`, `metrics`, `teacher` and `formats`, as in `report.json`.

    Raises:
        BuildNotFound: there is no student.
        RequestError: the judge taught or filtered.
    """
    out, watcher = Path(out), watcher or Watcher()
    try:
        lock = orjson.loads((out / "lock.json").read_bytes())
        tables = tomllib.loads((out / "recipe.toml").read_text(encoding="utf-8"))
        known = orjson.loads((out / "report.json").read_bytes())
    except FileNotFoundError:
        raise BuildNotFound(f"{out} holds no student", expected="a folder that `limbeck distill` finished") from None
    recipe = checked(tables, folder=Path(lock["folder"]), origin=str(out / "recipe.toml"))
    work = opening.opened(recipe, out, device, watcher)
    judge = evaluate.refuse_dependent_judge(recipe, work.dataset.lineage)
    student, rows = recipe.student, work.dataset.rows(batches.held_out(work.dataset, recipe)[2])
    teacher = student.teacher_answers(rows, work)
    folder = Path(model) if model is not None else out / "student"
    if not folder.is_dir():
        raise BuildNotFound(f"there is no folder {folder}", where="--model" if model else str(out))
    loaded = student.load(folder, work).to(work.device)
    plain = type(student).exported is not Student.exported
    formats: dict[str, dict[str, Any]] = {}
    for format, entry in known["formats"].items():
        if "refused" in entry or (model is not None and format != "safetensors"):
            continue
        watcher.started(f"evaluate {format}", None)
        if format == "safetensors":
            predictor = student.predictor(loaded, work)
        else:
            path = out / entry["file"]
            if not path.exists():
                raise RequestError(f"there is no {path}", where=str(out), remedy="run `limbeck distill` once more")
            if not plain:
                continue
            predictor = exports.open_(format, path, student.exported(student.load(folder, work), work))
        scores = evaluate.score(predictor, rows, work, teacher)
        formats[format] = {"values": scores.values, "more": scores.more, "bytes": entry["bytes"]}
        watcher.finished(f"evaluate {format}")
    theirs = None if teacher is None else student.score(teacher, rows, work, teacher)
    report = {
        "judge": judge,
        "test_rows": len(rows),
        "metrics": [asdict(m) for m in student.metrics],
        "teacher": None if theirs is None else {"name": work.cache.name, "values": theirs.values},
        "formats": formats,
    }
    if model is None:
        write_json(out / "evaluation.json", report)
    return report
