"""What students that look at one picture share: how they are taught, asked, saved, loaded and exported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from distill.embedding_teacher import EmbeddingTeacher, embedding_dim, knows_texts
from distill.exports import FORMATS
from distill.pixels import picture_of, pixels, processor_config
from distill.student import Exported, Predictor, Student

if TYPE_CHECKING:
    from torch import nn

    from distill.teacher import Teacher
    from distill.work import Work

_BATCH = 128


class PictureStudent(Student):
    """A small vision transformer taught by a model of pictures and texts.

    Subclasses have the settings `teacher`, `hidden_size`, `layers`, `heads`, `intermediate_size`, `image_size` and
    `patch_size`.
    """

    pictures: ClassVar = ("image",)
    formats: ClassVar = ("safetensors", *FORMATS)
    architecture: ClassVar[str]
    """transformers' class of the student."""
    processor: ClassVar[str]
    """transformers' class that prepares its pictures."""
    output: ClassVar[str]
    """Which of the model's outputs it answers with."""

    def shared_problems(self, work: Work) -> list[str]:
        """Sizes that don't divide, a teacher without texts."""
        found = []
        if self.hidden_size % self.heads:
            found.append(f"hidden_size = {self.hidden_size} isn't a multiple of heads = {self.heads}")
        if self.image_size % self.patch_size:
            found.append(f"image_size = {self.image_size} isn't a multiple of patch_size = {self.patch_size}")
        if not knows_texts(work.spec("teacher"), work.recipe.folder):
            found.append(f"the teacher {work.spec('teacher').id!r} reads no texts; expected one like CLIP or SigLIP")
        return found

    def taught_by(self, work: Work) -> Teacher:
        """Embeddings of pictures; states of texts."""
        spec, folder = work.spec("teacher"), work.recipe.folder
        return EmbeddingTeacher(spec, folder, embedding_dim(spec, folder), self.pictures[0])

    def shape(self) -> dict[str, Any]:
        """What the settings say of the transformer, as its config has it."""
        return {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "attn_implementation": "sdpa",
        }

    def outputs(self, predictor: Predictor, rows: Sequence[dict[str, Any]]) -> NDArray[np.float32]:
        """(N, ...), `output` of each row's picture."""
        found = []
        for start in range(0, len(rows), _BATCH):
            seen = pixels([picture_of(row) for row in rows[start : start + _BATCH]], self.image_size)
            found.append(predictor.ask({"pixel_values": seen.numpy()})[self.output])
        return np.concatenate(found)

    def save(self, model: nn.Module, folder: Path, work: Work) -> None:
        """Weights, config and preprocessing, as transformers has them."""
        model.save_pretrained(folder, safe_serialization=True)
        config = processor_config(self.processor, self.image_size)
        (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path, work: Work) -> nn.Module:
        """By `from_pretrained` of its class."""
        import transformers

        return getattr(transformers, self.architecture).from_pretrained(folder, use_safetensors=True).eval()

    def exported(self, model: nn.Module, work: Work) -> Exported:
        """Pixels to `output`."""
        import torch

        class Answer(torch.nn.Module):
            def __init__(self, inner: nn.Module, output: str) -> None:
                super().__init__()
                self.inner, self.output = inner, output

            def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
                return getattr(self.inner(pixel_values=pixel_values), self.output)

        side = self.image_size
        return Exported(Answer(model, self.output), {"pixel_values": torch.randn(2, 3, side, side)}, (self.output,))
