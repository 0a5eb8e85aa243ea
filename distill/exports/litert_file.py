"""LiteRT (TensorFlow Lite): one `.tflite` file, for one row at a time.

The converter (`litert-torch`) wants an older typing_extensions than pydantic does, so it can't be installed beside
limbeck. It is asked in a Python of its own, named by LIMBECK_LITERT_PYTHON; the file is run here, by `ai-edge-litert`.

    python -m venv litert && litert/bin/pip install torch==2.13.0 litert-torch
    export LIMBECK_LITERT_PYTHON=$PWD/litert/bin/python
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.student import Answers, Exported, Predictor
from limbeck.errors import RequestError, WorkError

PYTHON = "LIMBECK_LITERT_PYTHON"
_CONVERT = """
import sys, torch, litert_torch
program = torch.export.load(sys.argv[1])
module = program.module()
inputs = tuple(torch.load(sys.argv[2], weights_only=True))
litert_torch.convert(module, inputs).export(sys.argv[3])
"""


def converter() -> str | None:
    """The interpreter that has the converter, or None."""
    named = os.environ.get(PYTHON)
    return named if named and Path(named).is_file() else None


def write(format: str, exported: Exported, folder: Path, source: Path) -> Path:
    """Writes `model.tflite`.

    Raises:
        RequestError: no interpreter with the converter is named.
        WorkError: the converter failed.
    """
    import torch

    python = converter()
    if python is None:
        raise RequestError(
            "the converter of LiteRT needs a Python of its own",
            where="export.formats 'litert'",
            remedy=f"name it with {PYTHON}: python -m venv litert && litert/bin/pip install torch==2.13.0 litert-torch",
        )
    module = exported.module.eval().cpu().float()
    one = tuple(value[:1] for value in exported.inputs.values())
    path, program, inputs = folder / "model.tflite", folder / ".program.pt2", folder / ".inputs.pt"
    try:
        torch.export.save(torch.export.export(module, one), program)
        torch.save(list(one), inputs)
        command = [python, "-c", _CONVERT, str(program), str(inputs), str(path)]
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        done = subprocess.run(command, capture_output=True, text=True, env=clean)
    finally:
        program.unlink(missing_ok=True)
        inputs.unlink(missing_ok=True)
    if done.returncode or not path.is_file():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WorkError(f"LiteRT's converter failed: {last}", where=python)
    return path


def open_(format: str, path: Path, exported: Exported) -> Predictor:
    """LiteRT's interpreter, row by row."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runner = interpreter.get_signature_runner()
    names = sorted(runner.get_input_details())  # args_0, args_1, ... in the order of the inputs
    outputs = sorted(runner.get_output_details())

    def ask(inputs: Mapping[str, NDArray[Any]]) -> Answers:
        rows = len(next(iter(inputs.values())))
        found: dict[str, list[NDArray[Any]]] = {name: [] for name in exported.outputs}
        for n in range(rows):
            given = [np.ascontiguousarray(inputs[name][n : n + 1]) for name in exported.inputs]
            said = runner(**dict(zip(names, given, strict=True)))
            for name, theirs in zip(exported.outputs, outputs, strict=True):
                found[name].append(np.asarray(said[theirs], np.float32))
        return {name: np.concatenate(values) for name, values in found.items()}

    return Predictor(ask, format)
