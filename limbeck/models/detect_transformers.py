"""The detect role through transformers: Grounding DINO, which finds things by their names.

The names become one text, "a cat. a dog."; the model says of each box how well every word of it fits. A box has the
name whose words fit it best.

Convention: boxes as (x0, y0, x1, y1), shares of width and height from the top left.

Source: Liu et al. 2023, Grounding DINO (arXiv 2303.05499), section 3.
Differs: transformers' own post-processing puts every word above a threshold into a box's label, which can mix two names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForZeroShotObjectDetection,
    AutoTokenizer,
    GroundingDinoImageProcessorPil,
)
from transformers.utils import cached_file

from limbeck.errors import ModelNotFound, SettingError, one_line
from limbeck.models.quiet import without_bars
from limbeck.models.roles import Found
from limbeck.models.score_transformers import _device
from limbeck.models.weights import require_all_weights, require_safetensors, weights_name

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.models.spec import ModelSpec

ARCHITECTURES = {"grounding-dino": "Grounding DINO", "mm-grounding-dino": "MM Grounding DINO"}
"""`model_type` of the configs that can be loaded."""


class TransformersDetect:
    """Finds things by name, picture by picture: no picture's boxes depend on its company.

    Attributes:
        fingerprint: changes with the weights.
    """

    def __init__(self, folder_or_id: str | Path, *, revision: str | None = None, device: str = "auto") -> None:
        """Loads the model, its tokenizer and its preprocessing.

        Args:
            folder_or_id: a folder that `save_pretrained` wrote, or a Hub id such as `IDEA-Research/grounding-dino-tiny`.
            revision: branch, tag or commit of a Hub id.
            device: a torch device, or `auto`: CUDA, then MPS, then the CPU.

        Raises:
            ModelNotFound: nothing there, it can't be loaded, or the architecture isn't one of `ARCHITECTURES`.
            UnsafeWeights: pickled weights only.
        """
        self.name = str(folder_or_id)
        require_safetensors(folder_or_id, revision)
        hub = {"revision": revision, "trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(self.name, **hub)
            if config.model_type not in ARCHITECTURES:
                raise ModelNotFound(
                    f"found an architecture of type {config.model_type!r}",
                    expected=f"a detector: {', '.join(ARCHITECTURES.values())}",
                    where=self.name,
                )
            with without_bars():
                self._model, loaded = AutoModelForZeroShotObjectDetection.from_pretrained(
                    self.name, use_safetensors=True, output_loading_info=True, **hub
                )
            require_all_weights(loaded, self.name)
            self._tokenizer = AutoTokenizer.from_pretrained(self.name, **hub)
            self._pixels = GroundingDinoImageProcessorPil.from_pretrained(self.name, revision=revision)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelNotFound(f"transformers could not load it: {one_line(error)}", where=self.name) from error
        self.device = _device(device)
        self._model.to(self.device).eval().requires_grad_(False)
        self.max_tokens: int = config.max_text_len
        weights = weights_name(folder_or_id, Path(cached_file(self.name, "config.json", revision=revision)).parent)
        self.fingerprint = f"detect:{weights}"

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> TransformersDetect:
        """Builds it from a recipe's `[models]` entry."""
        return cls(spec.id, revision=spec.revision, device=spec.device)

    @torch.inference_mode()
    def detect(self, image: Image.Image, names: Sequence[str], *, min_score: float) -> list[Found]:
        """Things of these names, the surest first.

        Args:
            image: RGB.
            names: what to look for.
            min_score: least score of a box.

        Raises:
            SettingError: no names, or more than the model reads at once.
        """
        text, spans = _caption(names)
        tokens = self._tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
        offsets = tokens.pop("offset_mapping")[0].tolist()
        if len(offsets) > self.max_tokens:
            raise SettingError(
                f"{len(names)} names are {len(offsets)} tokens", expected=f"at most {self.max_tokens}", where=self.name
            )
        pixels = self._pixels(image.convert("RGB"), return_tensors="pt")
        inputs = {key: value.to(self.device) for key, value in {**pixels, **tokens}.items()}
        output = self._model(**inputs)
        fits = output.logits[0].float().sigmoid().cpu()  # (Q, T): of each query and token
        own = [[t for t, (a, b) in enumerate(offsets) if a >= start and b <= end and b > a] for start, end in spans]
        scores = torch.stack([fits[:, where].amax(1) for where in own], 1)  # (Q, names)
        best, which = scores.max(1)
        found = []
        for score, name, (x, y, w, h) in zip(
            best.tolist(), which.tolist(), output.pred_boxes[0].float().tolist(), strict=True
        ):
            box = tuple(min(max(v, 0.0), 1.0) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
            if score >= min_score and box[2] > box[0] and box[3] > box[1]:
                found.append(Found(names[name], box, score))
        return sorted(found, key=lambda thing: -thing.score)


def _caption(names: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The names as the model reads them, and where each stands.

    >>> _caption(["Cat", "traffic light"])
    ('cat. traffic light.', [(0, 3), (5, 18)])

    Raises:
        SettingError: no names, or one that is empty.
    """
    if not names or not all(name.strip(" .") for name in names):
        raise SettingError(f"names {list(names)!r}", expected="names of things to look for")
    text, spans = "", []
    for name in names:
        text += " " if text else ""
        spans.append((len(text), len(text) + len(name.strip(" ."))))
        text += name.strip(" .").lower() + "."
    return text, spans
