"""A student small enough for tests: three numbers of a caption to one, with a label, a teacher and dropout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distill.student import Answers, Batch, Exported, Item, Metric, Predictor, Scores, Student, Term
from distill.teacher import Teacher, array, ragged
from limbeck.records import columns
from limbeck.stage import settings

USE = "toy_student:Toy"
"""By name, so that recipes and tests mean the same class."""


def features(row: dict[str, Any]) -> np.ndarray:
    return np.array([float(word) for word in row["caption"].split()], np.float32)


class ToyTeacher(Teacher):
    """Says 2 * (sum of the numbers), and in `long` as many ones as the first number's size."""

    columns = (array("answer", (1,), "float32"), ragged("long", (2,)))
    state = array("state", (2,))
    reads = ("caption",)
    loaded: ClassVar[list[str]] = []
    """Names of teachers in memory, which tests look at."""
    asked: ClassVar[list[str]] = []
    """Ids of rows that were asked."""

    def __init__(self, fingerprint: dict[str, str]) -> None:
        self.name, self.fingerprint = "toy", fingerprint

    def load(self) -> None:
        self.loaded.append(self.name)

    def unload(self) -> None:
        self.loaded.clear()

    def targets(self, rows, views):
        assert self.loaded
        self.asked.extend(row["id"] for row in rows)
        answers = [2 * features(row).sum(keepdims=True) + view.index for row, view in zip(rows, views, strict=True)]
        return {"answer": np.stack(answers), "long": [np.ones((int(abs(features(r)[0])), 2)) for r in rows]}

    def states(self, texts):
        return np.stack([[len(text), 1.0] for text in texts])

    def facts(self):
        return {"parameters": 200}


@settings
class Toy(Student):
    """Learns a sum of three numbers."""

    name: ClassVar = "toy"
    reads: ClassVar = columns("caption")
    terms: ClassVar = {"fit": Term("label"), "copy": Term("teacher", 0.5)}
    metrics: ClassVar = (Metric("error", "lower"), Metric("agreement", "lower"))
    formats: ClassVar = ("safetensors", "onnx-fp32", "onnx-fp16", "onnx-int8")

    dropout: float = 0.0
    """Of the features."""
    weights: str = "a"
    """Of the teacher: another letter, another teacher."""
    nan_caption: str = ""
    """A row whose loss isn't a number."""
    width: int = 8
    """Of the hidden layer."""
    hooked: bool = False
    """Whether a hook takes the hidden layer into the loss, as feature losses do."""

    def taught_by(self, work):
        return ToyTeacher({"weights": self.weights, "preprocessing": "p", "tokenizer": "t", "dtype": "float32"})

    def texts(self, work, dealt):
        return ["one", "two", "one"]

    def build(self, work):
        from torch import nn

        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(3, self.width), nn.Tanh(), nn.Linear(self.width, 1))

    def batch(self, items: Sequence[Item], phase, work) -> Batch:
        import torch

        x = np.stack([features(item.row) + 0.01 * item.rng.standard_normal(3) for item in items]).astype(np.float32)
        for n, item in enumerate(items):
            if item.row["caption"] == self.nan_caption:
                x[n] = np.nan
        answers = [[0.0] if item.target is None else item.target["answer"] for item in items]
        return {
            "x": torch.from_numpy(x),
            "y": torch.tensor([[float(features(item.row).sum())] for item in items]),
            "teacher": torch.from_numpy(np.array(answers, np.float32)),
            "labelled": torch.tensor([item.labelled for item in items]),
        }

    def counts(self, batch):
        return {"fit": float(batch["labelled"].sum()), "copy": float(len(batch["x"]))}

    def losses(self, model, batch, phase, work):
        from distill.trainer import bare

        seen = []
        hook = bare(model)[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
        said = model(batch["x"])
        hook.remove()
        each = (said - batch["y"]).square().squeeze(-1)
        copy = (said - batch["teacher"] / 2).square().sum() + (seen[0].square().sum() if self.hooked else 0)
        return {"fit": (each * batch["labelled"]).sum(), "copy": copy}

    def answer(self, predictor: Predictor, rows, work) -> Answers:
        return {"y": predictor.ask({"x": np.stack([features(row) for row in rows])})["y"][:, 0]}

    def teacher_answers(self, rows, work):
        return {"y": work.cache.targets("answer", [row["id"] for row in rows])[:, 0] / 2}

    def score(self, answers, rows, work, teacher=None) -> Scores:
        truth = np.array([features(row).sum() for row in rows])
        items = {"error": np.abs(answers["y"] - truth).astype(np.float64)}
        if teacher is not None:
            items["agreement"] = np.abs(answers["y"] - teacher["y"]).astype(np.float64)
        return Scores({name: float(each.mean()) for name, each in items.items()}, items)

    def save(self, model, folder, work):
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), folder / "model.safetensors")

    def load(self, folder, work):
        from safetensors.torch import load_file

        model = self.build(work)
        model.load_state_dict(load_file(folder / "model.safetensors"))
        return model.eval()

    def exported(self, model, work) -> Exported:
        import torch

        return Exported(model, {"x": torch.randn(2, 3)}, ("y",))


def toy_student_recipe(folder: Path, rows: int = 120, **tables: str) -> Path:
    """A recipe of the toy; `tables` are lines by table, such as `train="steps = 5"`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    splits = ["train"] * 8 + ["validation", "test"]
    lines = [
        {"caption": " ".join(f"{v:.3f}" for v in rng.normal(size=3)), "split": splits[n % 10]} for n in range(rows)
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    own = {
        "train": "steps = 20\nbatch_size = 16\nlr = 1e-2\nwarmup = 2\nevaluate_every = 10\ncheckpoint_every = 5\nema = 0.9",
        "budget": "labelled = 24",
        "export": 'formats = ["safetensors"]\nlatency_runs = 5',
    } | tables
    head = f"""
[distill]
name = "toy"
seed = 3
[source]
captions = "rows.jsonl"
[student]
use = "{USE}"
{own.pop("student", "")}
"""
    path = folder / "toy.toml"
    path.write_text(head + "".join(f"[{name}]\n{text}\n" for name, text in own.items()), encoding="utf-8")
    return path
