"""ONNX files and onnxruntime: float32, float16, and int8 weights with activations quantised as they come."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.student import Answers, Exported, Predictor

OPSET = 18


def write(format: str, exported: Exported, folder: Path, source: Path) -> Path:
    """Writes `model.onnx`, `model_fp16.onnx` or `model_int8.onnx`; the batch axis is free."""
    path = folder / {"onnx-fp32": "model.onnx", "onnx-fp16": "model_fp16.onnx", "onnx-int8": "model_int8.onnx"}[format]
    whole = path if format == "onnx-fp32" else folder / f".{path.stem}.whole.onnx"
    if not _LAST or _LAST[0] is not exported:
        _float32(exported, whole)
        _LAST[:] = [exported, whole.read_bytes()]
    whole.write_bytes(_LAST[1])
    if format == "onnx-fp16":
        _halved(whole, path)
    elif format == "onnx-int8":
        _quantised(whole, path)
    if whole != path:
        whole.unlink()
    return path


_LAST: list[Any] = []
"""The student that was exported last and its float32 file, which the other formats are made of; exporting takes seconds."""


def _float32(exported: Exported, path: Path) -> None:
    import torch

    module = exported.module.eval().cpu().float()
    shapes = tuple({0: torch.export.Dim("batch")} for _ in exported.inputs)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            tuple(exported.inputs.values()),
            input_names=list(exported.inputs),
            output_names=list(exported.outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    program.save(str(path))


def _halved(whole: Path, path: Path) -> None:
    """Weights and arithmetic in float16; inputs and outputs stay float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(whole))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values below float16's smallest are said to be cut
        onnx.save(convert_float_to_float16(model, keep_io_types=True), str(path))


def _quantised(whole: Path, path: Path) -> None:
    """Weights in unsigned 8 bits; activations are quantised as they come.

    A CPU without VNNI adds products of unsigned activations and *signed* weights in pairs, in 16 bits, which they exceed:
    such a file is right where it was made and wrong elsewhere. Unsigned weights are added without loss everywhere.

    The shapes that torch's exporter stores have to go first: quantisation adds nodes whose inferred shapes contradict
    them, and shape inference then fails.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(whole))
    del model.graph.value_info[:]
    onnx.save(model, str(whole))
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it advises preprocessing, at every call
    try:
        quantize_dynamic(str(whole), str(path), weight_type=QuantType.QUInt8, per_channel=True)
    finally:
        logging.root.setLevel(level)


def open_(format: str, path: Path, exported: Exported) -> Predictor:
    """onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    kinds = {i.name: np.dtype(i.type[7:-1].replace("float", "float32").replace("float3216", "float16")) for i in session.get_inputs()}  # fmt: skip

    def ask(inputs: Mapping[str, NDArray[Any]]) -> Answers:
        given = {name: np.ascontiguousarray(inputs[name], kind) for name, kind in kinds.items()}
        found = session.run(list(exported.outputs), given)
        return {name: np.asarray(value, np.float32) for name, value in zip(exported.outputs, found, strict=True)}

    return Predictor(ask, format)


@contextlib.contextmanager
def _quiet() -> Any:
    """torch's exporter prints its steps."""
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
