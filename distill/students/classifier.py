"""A plain classifier of pictures, taught by what a large model thinks of each class: soft labels, whole or decoupled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from distill.embedding_teacher import EMBEDDING
from distill.measures import calibration_error, log_softmax
from distill.picture_student import PictureStudent
from distill.pixels import picture_of, pixels
from distill.student import Answers, Batch, Item, Metric, Predictor, Scores, Term
from distill.zero_shot import ASKED, class_names
from limbeck import seeds
from limbeck.records import columns
from limbeck.scores import unit_rows
from limbeck.stage import ModelRole, settings
from limbeck.storybook.grammar import caption
from limbeck.storybook.scene import Scene, sample_scene

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn

    from distill.batches import Pools
    from distill.work import Work

_OF_THINGS = ("kind", "colour", "size")


@settings
class Classifier(PictureStudent):
    """A classifier of pictures whose teacher has never seen the classes: it reads their names."""

    name: ClassVar = "classifier"
    version: ClassVar = 1
    architecture: ClassVar = "ViTForImageClassification"
    processor: ClassVar = "ViTImageProcessor"
    output: ClassVar = "logits"
    metrics: ClassVar = (
        Metric("accuracy", about="the right class"),
        Metric("nll", "lower", about="negative log-likelihood of the right class"),
        Metric("ece", "lower", about="expected calibration error, 15 bins"),
        Metric("agreement", about="classes that are the teacher's, right or wrong", to_teacher=True),
    )

    teacher: Annotated[str, ModelRole("score")] = "teacher"
    """Reads the names of the classes, and sees the pictures."""
    method: Literal["hinton", "dkd"] = "hinton"
    """Soft labels as they are, or decoupled where the label is known (and as they are elsewhere)."""
    temperature: Annotated[float, Gt(0)] = 2.0
    """Of both sides; the loss is multiplied by its square."""
    alpha: Annotated[float, Ge(0)] = 1.0
    """Weight of the right class in the decoupled loss."""
    beta: Annotated[float, Ge(0)] = 2.0
    """Weight of the other classes in the decoupled loss."""
    class_column: str | None = None
    """Column with a class's name; by default classes are attributes of storybook scenes."""
    templates: tuple[str, ...] = ("a photo of a {}.",)
    """Texts of a class, with {} for its name; their embeddings are averaged."""
    attributes: tuple[Literal["kind", "colour", "size", "ground", "time", "weather", "style"], ...] = ("kind", "colour")
    """Of a storybook scene, whose combinations are the classes; those of things need scenes of one thing."""
    ensemble: Annotated[int, Ge(1)] = 16
    """Captions of a storybook class, whose embeddings are averaged."""
    hidden_size: Annotated[int, Gt(0)] = 64
    """Width."""
    layers: Annotated[int, Gt(0)] = 2
    """Transformer layers."""
    heads: Annotated[int, Gt(0)] = 4
    """Attention heads."""
    intermediate_size: Annotated[int, Gt(0)] = 128
    """Width of the feed-forward part."""
    image_size: Annotated[int, Gt(0)] = 64
    """Side of its pictures in pixels."""
    patch_size: Annotated[int, Gt(0)] = 16
    """Side of a patch in pixels."""

    @property
    def terms(self) -> dict[str, Term]:
        """Hard labels, soft labels, and with `dkd` the decoupled ones of labelled rows."""
        own = {"hard": Term("label"), "soft": Term("teacher")}
        return own | ({"dkd": Term("both")} if self.method == "dkd" else {})

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The picture, and its class."""
        import pyarrow as pa

        own = pa.field(self.class_column, pa.string()) if self.class_column else columns("scene")[0]
        return (*columns("image"), own)

    def check(self, work: Work) -> list[str]:
        """Sizes that don't divide, scenes of several things, a single class."""
        found = self.shared_problems(work)
        if not self.class_column and {*self.attributes} & {*_OF_THINGS}:
            several = sum(
                len(Scene.from_json(work.dataset.row(p)["scene"]).things) > 1 for p in range(min(50, len(work.dataset)))
            )
            if several:
                found.append(
                    f"attributes = {list(self.attributes)} is about one thing, and scenes have several: "
                    "source.storybook = { things = 1 }"
                )
        if len(self._names(work)) < 2:
            found.append(f"{len(self._names(work))} class; expected 2 or more")
        return found

    def texts(self, work: Work, dealt: Sequence[Pools]) -> Iterable[str]:
        """Texts of the classes."""
        return (text for texts in self._class_texts(work) for text in texts)

    def build(self, work: Work) -> nn.Module:
        """A fresh `ViTForImageClassification`."""
        from transformers import ViTConfig, ViTForImageClassification

        names = self._names(work)
        return ViTForImageClassification(
            ViTConfig(
                **self.shape(),
                id2label=dict(enumerate(names)),
                label2id={name: n for n, name in enumerate(names)},
            )
        )

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """`pixel_values` (B, 3, S, S); `teacher` (B, C) logits; `label` (B,), -1 where it can't be seen; `soft` (B,) bool.

        `soft` are the rows of plain soft labels: all, or where the decoupled ones are learnt too, those without a label.
        """
        import torch

        taught = np.stack(
            [np.zeros(work.cache.facts["dim"]) if i.target is None else i.target[EMBEDDING] for i in items]
        )
        labels = [self._class_of(i.row, work) if i.labelled else -1 for i in items]
        decoupled = "dkd" in work.terms
        return {
            "pixel_values": pixels([i.view.apply(picture_of(i.row)) for i in items], self.image_size),
            "teacher": torch.from_numpy(self._logits(unit_rows(taught), work).astype(np.float32)),
            "label": torch.tensor(labels),
            "soft": torch.tensor([not (decoupled and i.labelled) for i in items]),
        }

    def counts(self, batch: Batch) -> dict[str, float]:
        """Labelled rows; those of plain soft labels; labelled rows."""
        known = float((batch["label"] >= 0).sum())
        return {"hard": known, "soft": float(batch["soft"].sum()), "dkd": known}

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Sums of each term."""
        import torch.nn.functional as F

        from distill import losses

        logits = model(pixel_values=batch["pixel_values"]).logits.float()
        known, found = batch["label"] >= 0, {}
        if "hard" in work.terms:
            found["hard"] = F.cross_entropy(logits[known], batch["label"][known], reduction="sum")
        if "dkd" in work.terms:
            found["dkd"] = losses.dkd(
                logits[known],
                batch["teacher"][known],
                batch["label"][known],
                alpha=self.alpha,
                beta=self.beta,
                temperature=self.temperature,
            ).sum()
        if "soft" in work.terms:
            soft = batch["soft"]
            found["soft"] = losses.hinton(logits[soft], batch["teacher"][soft], self.temperature).sum()
        return found

    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """`logits` (N, C)."""
        return {"logits": self.outputs(predictor, rows)}

    def teacher_answers(self, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """Similarities with the texts of the classes."""
        return {"logits": self._logits(unit_rows(work.cache.targets(EMBEDDING, [row["id"] for row in rows])), work)}

    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """Accuracy, calibration, and agreement with the teacher."""
        log_p = log_softmax(answers["logits"])
        labels, chosen = np.array([self._class_of(row, work) for row in rows]), log_p.argmax(1)
        items = {
            "accuracy": (chosen == labels).astype(np.float64),
            "nll": -log_p[np.arange(len(rows)), labels],
        }
        if teacher is not None:
            items["agreement"] = (chosen == teacher["logits"].argmax(1)).astype(np.float64)
        values = {name: float(each.mean()) for name, each in items.items()}
        values["ece"] = calibration_error(np.exp(log_p.max(1)), items["accuracy"])
        return Scores(values, items)

    def usage(self, work: Work) -> str:
        """By transformers' pipeline."""
        return (
            "from transformers import pipeline\n\n"
            'classify = pipeline("image-classification", model="FOLDER")\n'
            "classify(picture)"
        )

    # --- what is shared by the methods above

    def _names(self, work: Work) -> list[str]:
        if "class names" not in work.memo:
            if self.class_column:
                work.memo["class names"] = class_names(work.dataset, self.class_column)
            else:
                work.memo["class names"] = [
                    " ".join(values) for values in product(*(ASKED[a] for a in self.attributes))
                ]
        return work.memo["class names"]

    def _class_of(self, row: Mapping[str, Any], work: Work) -> int:
        if "class at" not in work.memo:
            work.memo["class at"] = {name: n for n, name in enumerate(self._names(work))}
        return work.memo["class at"][self._name_of(row)]

    def _name_of(self, row: Mapping[str, Any]) -> str:
        if self.class_column:
            return row[self.class_column]
        scene = Scene.from_json(row["scene"])
        return " ".join(getattr(scene.things[0] if a in _OF_THINGS else scene, a) for a in self.attributes)

    def _class_texts(self, work: Work) -> list[tuple[str, ...]]:
        """Texts of each class: templates, or captions of scenes that differ in all that the class doesn't say."""
        if self.class_column:
            return [tuple(t.format(name) for t in self.templates) for name in self._names(work)]
        rng = seeds.rng(0, "class texts", " ".join(self.attributes))
        scenes = [
            sample_scene(rng, things=1 if {*self.attributes} & {*_OF_THINGS} else None, split="train")
            for _ in range(self.ensemble)
        ]
        return [
            tuple(caption(_with(scene, dict(zip(self.attributes, values, strict=True)))) for scene in scenes)
            for values in product(*(ASKED[a] for a in self.attributes))
        ]

    def _logits(self, images: NDArray[np.float64], work: Work) -> NDArray[np.float64]:
        """(N, C): scale times cosine with the mean text of each class."""
        if "class states" not in work.memo:
            states = [unit_rows(work.cache.states(texts)).mean(0) for texts in self._class_texts(work)]
            work.memo["class states"] = unit_rows(np.stack(states))
        return work.cache.facts["scale"] * images @ work.memo["class states"].T


def _with(scene: Scene, values: Mapping[str, str]) -> Scene:
    """The scene with these attributes; those of things go to its only one."""
    things = {a: v for a, v in values.items() if a in _OF_THINGS}
    rest = {a: v for a, v in values.items() if a not in _OF_THINGS}
    return replace(scene, things=tuple(replace(t, **things) for t in scene.things), **rest)
