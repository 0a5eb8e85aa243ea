"""What is given out: the chosen student in every format, each measured again from its own file.

A format that loses more of the main metric than the recipe allows, or differs more from torch than float32 should, is
refused: its file goes, and the report says why.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill import evaluate, exports
from distill.student import Answers, Exported, Metric, Predictor
from limbeck.errors import WorkError

if TYPE_CHECKING:
    from distill.progress import Watcher
    from distill.trainings import Training
    from distill.work import Work

_WARMUP = 10
_AT_MOST_S = 30.0
"""Of timing; at least one run is timed."""


class ExportRefused(WorkError):
    """A format loses more than its budget.

    Attributes:
        formats: those that were refused, each with the reason.
    """

    def __init__(self, formats: dict[str, str], where: Path) -> None:
        self.formats = formats
        super().__init__(
            "; ".join(f"{name} {reason}" for name, reason in formats.items()),
            where=str(where),
            remedy="leave the format out of [export] formats, or allow more with export.max_loss.FORMAT",
        )


def publish(
    work: Work,
    chosen: Training,
    rows: Sequence[dict[str, Any]],
    teacher: Answers | None,
    folder: Path,
    watcher: Watcher,
) -> dict[str, dict[str, Any]]:
    """Writes the student in every format and measures each.

    Returns:
        Format to `file`, `bytes`, `values`, `loss` (of the main metric, as a share), `difference` (largest, of an
        output to torch's), `p50_ms` and `p95_ms` of one row, `device`, `parameters`, `macs`; `refused` with a reason,
        where it was. Safetensors run on the work's device, the others on the CPU.
    """
    aside = folder.with_name(f".{folder.name}")  # until all is there the student of an earlier call stays
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(chosen.folder / "model", aside)
    student, recipe = work.student, work.recipe
    model = student.load(aside, work)
    formats = recipe.export.formats or tuple(f for f in student.formats if exports.at_hand(f))
    metric = student.metrics[0]
    found: dict[str, dict[str, Any]] = {}
    exported = student.exported(model, work) if {*formats} - {"safetensors"} or is_plain(work) else None
    for format in dict.fromkeys(("safetensors", *formats)):
        name = f"export {format}"
        watcher.started(name, None)
        if format == "safetensors":
            there = model if work.device == "cpu" else student.load(aside, work).to(work.device)
            path, predictor, device = aside, student.predictor(there, work), work.device
        else:
            path, device = exports.write(format, exported, aside / exports.folder_of(format), aside), "cpu"
            predictor = exports.open_(format, path, exported)
        entry: dict[str, Any] = {
            "file": (folder.name / path.relative_to(aside)).as_posix(),
            "bytes": _size(path),
            "device": device,
        }
        try:
            entry["values"] = evaluate.score(predictor, rows, work, teacher).values
        except evaluate.NotFinite as error:
            entry |= {"values": {}, "refused": str(error)}
        else:
            reference = (found["safetensors"]["values"] if found else chosen.scores.values)[metric.name]
            entry["loss"] = lost(metric, reference, entry["values"][metric.name])
        if exported is not None:
            if found:
                entry["difference"] = _difference(exported, predictor)
            entry |= latency(predictor, exported, recipe.export.latency_runs)
        if reason := entry.get("refused") or refusal(format, entry, metric, recipe.export):
            entry["refused"] = reason
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        found[format] = entry
        watcher.finished(name)
    found["safetensors"] |= {"parameters": sum(p.numel() for p in model.parameters())}
    if exported is not None:
        found["safetensors"]["macs"] = macs(exported)
    shutil.rmtree(folder, ignore_errors=True)
    aside.replace(folder)
    return found


def is_plain(work: Work) -> bool:
    """Whether the student is a plain function of tensors at all."""
    from distill.student import Student

    return type(work.student).exported is not Student.exported


def refusal(format: str, entry: dict[str, Any], metric: Metric, table: Any) -> str | None:
    """Why a format is refused, or None."""
    if not entry["loss"] <= table.budget(format):
        return f"loses {entry['loss']:.2%} of {metric.name}, more than the {table.budget(format):.2%} allowed"
    if format in exports.EXACT and not entry["difference"] <= table.max_difference:
        return f"differs from torch by {entry['difference']:.1e}, more than the {table.max_difference:.0e} allowed"
    return None


def lost(metric: Metric, before: float, after: float) -> float:
    """What of a metric was lost, as a share of what it was; gains are 0, and a value that isn't finite loses all.

    >>> lost(Metric("a"), 0.8, 0.6), lost(Metric("nll", "lower"), 0.5, 0.6), lost(Metric("a"), 0.8, 0.9)
    (0.25, 0.2, 0.0)
    """
    if not np.isfinite(after):
        return float("inf")
    change = before - after if metric.better == "higher" else after - before
    return max(0.0, round(change / abs(before), 12)) if before else float(change > 0)


def _difference(exported: Exported, predictor: Predictor) -> float:
    """Largest difference of any output from torch's, on the example inputs."""
    inputs = {name: value.numpy() for name, value in exported.inputs.items()}
    expected = exports.torch_predictor(exported, exported.module).ask(inputs)
    found = predictor.ask(inputs)
    return max(float(np.abs(expected[name] - found[name]).max()) for name in exported.outputs)


def latency(predictor: Predictor, exported: Exported, runs: int) -> dict[str, float]:
    """Milliseconds for one row, after warm-up: median and 95th percentile of as many runs as half a minute allows."""
    one = {name: value[:1].numpy() for name, value in exported.inputs.items()}
    begun = time.perf_counter()

    def seconds() -> float:
        start = time.perf_counter()
        predictor.ask(one)
        return time.perf_counter() - start

    for _ in range(_WARMUP):
        if seconds() > _AT_MOST_S / _WARMUP:
            break
    times = [1e3 * seconds()]
    while len(times) < runs and time.perf_counter() - begun < _AT_MOST_S:
        times.append(1e3 * seconds())
    return {"p50_ms": float(np.percentile(times, 50)), "p95_ms": float(np.percentile(times, 95))}


def macs(exported: Exported) -> int:
    """Multiply-adds for one row, as torch counts them: matrix products, convolutions and attention."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        exported.module(*(value[:1] for value in exported.inputs.values()))
    return counter.get_total_flops() // 2


def _size(path: Path) -> int:
    inside = [path] if path.is_file() else sorted(path.glob("*.safetensors")) or sorted(path.rglob("*.onnx"))
    files = inside or sorted(path.rglob("*.safetensors"))
    return sum(p.stat().st_size for p in files)
