"""Formats in which a student leaves, each one file here: `write` makes a file of it, `open_` asks that file.

    safetensors      what `Student.save` writes, through `Student.load`
    onnx-fp32        onnxruntime; also onnx-fp16 (weights and arithmetic) and onnx-int8 (weights, dynamic activations)
    executorch       .pte, ExecuTorch's runtime with XNNPACK; extra `executorch`
    litert           .tflite, LiteRT's interpreter; extra `litert`, and a Python of its own for the converter
    transformersjs   a folder for transformers.js, asked under Node

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

_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "onnx-fp32": ("onnx_files", _ONNX, "distill"),
    "onnx-fp16": ("onnx_files", _ONNX, "distill"),
    "onnx-int8": ("onnx_files", _ONNX, "distill"),
    "executorch": ("executorch_file", ("executorch",), "executorch"),
    "litert": ("litert_file", ("ai_edge_litert",), "litert"),
    "transformersjs": ("transformersjs_folder", _ONNX, "distill"),
}
"""Format to its file here, the packages that it needs and the extra that has them; `safetensors` is every student's own."""
EXACT = ("onnx-fp32", "executorch", "litert", "transformersjs")
"""Formats of full precision: their answers are torch's, up to rounding."""


def missing(format: str) -> str | None:
    """A package that a format needs and that isn't installed, or None."""
    needs = FORMATS[format][1] if format in FORMATS else ()
    return next((name for name in needs if importlib.util.find_spec(name) is None), None)


def at_hand(format: str) -> bool:
    """Whether a format can be written and asked here, all that lies outside Python too."""
    if missing(format):
        return False
    if format == "litert":
        return _module(format).converter() is not None
    return format != "transformersjs" or _module(format).modules() is not None


def write(format: str, exported: Exported, folder: Path, source: Path) -> Path:
    """Writes a student in a format.

    Args:
        format: one of `FORMATS`.
        exported: the student.
        folder: where to; made where it isn't there.
        source: the student as `Student.save` wrote it, for its configs.

    Returns:
        The file, or the folder of several.

    Raises:
        MissingExtra: a package isn't installed.
    """
    if package := missing(format):
        raise MissingExtra(package, extra=FORMATS[format][2], where=f"export.formats {format!r}")
    folder.mkdir(parents=True, exist_ok=True)
    return _module(format).write(format, exported, folder, source)


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
