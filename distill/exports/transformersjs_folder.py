"""transformers.js: a folder that `from_pretrained` of @huggingface/transformers loads, in a browser or under Node.

    transformersjs/config.json  preprocessor_config.json
    transformersjs/onnx/vision_model.onnx               or model.onnx, by the architecture

Asked under Node, by the class that the folder's config names. The npm package is looked for beside the working folder
and above it, or where LIMBECK_NODE_MODULES says:

    ONNXRUNTIME_NODE_INSTALL=skip npm install @huggingface/transformers
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.exports import onnx_files
from distill.student import Answers, Exported, Predictor
from limbeck.errors import RequestError, WorkError

MODULES = "LIMBECK_NODE_MODULES"
_FILES = {"CLIPVisionModelWithProjection": "vision_model", "SiglipVisionModel": "vision_model"}
"""Name of the ONNX file by architecture, where it isn't `model`."""


def modules() -> Path | None:
    """The `node_modules` folder that holds transformers.js, or None; Node has to be there, too."""
    if shutil.which("node") is None:
        return None
    named = os.environ.get(MODULES)
    places = [Path(named)] if named else [folder / "node_modules" for folder in (Path.cwd(), *Path.cwd().parents)]
    return next((p for p in places if (p / "@huggingface" / "transformers" / "package.json").is_file()), None)


def write(format: str, exported: Exported, folder: Path, source: Path) -> Path:
    """Writes the folder; the float32 file is that of `onnx-fp32`."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    name = _FILES.get(config["architectures"][0], "model")
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for file in ("config.json", "preprocessor_config.json"):
        if (source / file).is_file():
            shutil.copyfile(source / file, folder / file)
    onnx_files.write("onnx-fp32", exported, folder / "onnx", source)
    (folder / "onnx" / "model.onnx").rename(folder / "onnx" / f"{name}.onnx")
    return folder


def open_(format: str, path: Path, exported: Exported) -> Predictor:
    """A Node process that holds the model and answers batches.

    Raises:
        RequestError: Node or the npm package isn't there.
        WorkError: transformers.js can't load the folder.
    """
    place = modules()
    if place is None:
        raise RequestError(
            "node with @huggingface/transformers isn't there",
            where="export.formats 'transformersjs'",
            remedy=f"npm install @huggingface/transformers, or name its node_modules with {MODULES}",
        )
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    script = Path(__file__).with_name("transformersjs_ask.mjs")
    command = ["node", str(script), str(place.resolve()), str(path.resolve()), config["architectures"][0]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    atexit.register(process.kill)
    _line(process)  # it says when it is ready

    def ask(inputs: Mapping[str, NDArray[Any]]) -> Answers:
        given = [np.ascontiguousarray(inputs[name], np.float32) for name in exported.inputs]
        head = [{"name": name, "dims": value.shape} for name, value in zip(exported.inputs, given, strict=True)]
        process.stdin.write(json.dumps({"inputs": head, "outputs": exported.outputs}).encode() + b"\n")
        for value in given:
            process.stdin.write(value.tobytes())
        process.stdin.flush()
        found = {}
        for output in _line(process)["outputs"]:
            data = process.stdout.read(4 * int(np.prod(output["dims"])))
            found[output["name"]] = np.frombuffer(data, np.float32).reshape(output["dims"])
        return found

    return Predictor(ask, format)


def _line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    line = process.stdout.readline()
    if not line:
        said = process.stderr.read().decode(errors="replace").strip().splitlines()
        errors = [each for each in said if "Error" in each] or said or ["it said nothing"]
        raise WorkError(f"transformers.js failed: {errors[0].strip()}", where="node")
    return json.loads(line)
