"""Formats in which a student leaves, each one file here: `write` makes a file of it, `open_` asks that file.

    safetensors      what `Student.save` writes, through `Student.load`
    onnx-fp32        onnxruntime; also onnx-fp16 (weights and arithmetic) and onnx-int8 (weights, dynamic activations)

A format's answers come from the written file through its own runtime, never from the model that it was made of.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.student import Answers, Exported, Predictor
from limbeck.errors import MissingExtra

if TYPE_CHECKING:
    from torch import nn

FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "onnx-fp32": ("onnx_files", ("onnx", "onnxscript", "onnxruntime")),
    "onnx-fp16": ("onnx_files", ("onnx", "onnxscript", "onnxruntime")),
    "onnx-int8": ("onnx_files", ("onnx", "onnxscript", "onnxruntime")),
}
"""Format to its file here and the packages that it needs; `safetensors` is every student's own."""


def missing(format: str) -> str | None:
    """A package that a format needs and that isn't installed, or None."""
    needs = FORMATS[format][1] if format in FORMATS else ()
    return next((name for name in needs if importlib.util.find_spec(name) is None), None)


def write(format: str, exported: Exported, folder: Path) -> Path:
    """Writes a student in a format.

    Args:
        format: one of `FORMATS`.
        exported: the student.
        folder: where to; made where it isn't there.

    Returns:
        The file, or the folder of several.

    Raises:
        MissingExtra: a package isn't installed.
    """
    if package := missing(format):
        raise MissingExtra(package, extra="distill", where=f"export.formats {format!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return _module(format).write(format, exported, folder)


def open_(format: str, path: Path, exported: Exported) -> Predictor:
    """The written file behind its own runtime."""
    return _module(format).open_(format, path, exported)


def _module(format: str) -> Any:
    return importlib.import_module(f"distill.exports.{FORMATS[format][0]}")


def torch_predictor(exported: Exported, model: nn.Module, device: str = "cpu") -> Predictor:
    """A torch model to be asked in numpy."""
    import torch

    module = exported.module.to(device).eval()

    def ask(inputs: Mapping[str, NDArray[Any]]) -> Answers:
        with torch.inference_mode():
            tensors = [torch.from_numpy(np.ascontiguousarray(inputs[name])).to(device) for name in exported.inputs]
            found = module(*tensors)
        found = found if isinstance(found, tuple) else (found,)
        return {name: value.float().cpu().numpy() for name, value in zip(exported.outputs, found, strict=True)}

    return Predictor(ask, "torch", model)


def folder_of(format: str) -> str:
    """Folder of a format inside the student's.

    >>> folder_of("onnx-int8")
    'onnx'
    """
    return format.partition("-")[0]
