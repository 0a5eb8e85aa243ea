"""The segment role through transformers: SAM 2, which finds the pixels of what is in a box.

Convention: boxes as (x0, y0, x1, y1), shares of width and height from the top left; masks (N, H, W) of the picture's own
size.

Source: Ravi et al. 2024, SAM 2 (arXiv 2408.00714), section 4; one mask for each box.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn import functional as F
from transformers import AutoConfig, Sam2Model
from transformers.utils import cached_file

from limbeck.errors import ModelNotFound, one_line
from limbeck.models.preprocess import Preprocess
from limbeck.models.quiet import without_bars
from limbeck.models.score_transformers import _device
from limbeck.models.weights import require_all_weights, require_safetensors, weights_name

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.models.spec import ModelSpec

ARCHITECTURES = {"sam2": "SAM 2", "sam2_video": "SAM 2, of whose checkpoint for videos the picture's part is used"}
"""`model_type` of the configs that can be loaded."""


class TransformersSegment:
    """Finds the pixels of the thing in each box, picture by picture.

    Attributes:
        fingerprint: changes with the weights.
    """

    def __init__(self, folder_or_id: str | Path, *, revision: str | None = None, device: str = "auto") -> None:
        """Loads the model and its preprocessing.

        Args:
            folder_or_id: a folder that `save_pretrained` wrote, or a Hub id such as `facebook/sam2.1-hiera-tiny`.
            revision: branch, tag or commit of a Hub id.
            device: a torch device, or `auto`: CUDA, then MPS, then the CPU.

        Raises:
            ModelNotFound: nothing there, it can't be loaded, or the architecture isn't one of `ARCHITECTURES`.
            UnsafeWeights: pickled weights only.
        """
        self.name = str(folder_or_id)
        require_safetensors(folder_or_id, revision)
        try:
            config = AutoConfig.from_pretrained(self.name, revision=revision, trust_remote_code=False)
            if config.model_type not in ARCHITECTURES:
                raise ModelNotFound(
                    f"found an architecture of type {config.model_type!r}",
                    expected=f"a segmenter: {', '.join(ARCHITECTURES.values())}",
                    where=self.name,
                )
            with without_bars():
                self._model, loaded = Sam2Model.from_pretrained(
                    self.name, use_safetensors=True, output_loading_info=True, revision=revision
                )
            require_all_weights(loaded, self.name)
            self._preprocess = Preprocess.load(self.name, revision)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelNotFound(f"transformers could not load it: {one_line(error)}", where=self.name) from error
        self.device = _device(device)
        self._model.to(self.device).eval().requires_grad_(False)
        weights = weights_name(folder_or_id, Path(cached_file(self.name, "config.json", revision=revision)).parent)
        self.fingerprint = f"segment:{weights}"

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> TransformersSegment:
        """Builds it from a recipe's `[models]` entry."""
        return cls(spec.id, revision=spec.revision, device=spec.device)

    @torch.inference_mode()
    def segment(self, image: Image.Image, boxes: Sequence[Sequence[float]]) -> np.ndarray:
        """(N, H, W) bool, the pixels of the thing in each box.

        Args:
            image: RGB, H x W.
            boxes: N of them.
        """
        if not boxes:
            return np.zeros((0, image.height, image.width), bool)
        pixels = self._preprocess([image.convert("RGB")])["pixel_values"].to(self.device)  # (1, 3, S, S)
        side = torch.tensor([pixels.shape[3], pixels.shape[2]] * 2, dtype=torch.float32)
        asked = (torch.tensor([list(box) for box in boxes], dtype=torch.float32) * side)[None].to(
            self.device
        )  # (1, N, 4)
        output = self._model(pixel_values=pixels, input_boxes=asked, multimask_output=False)
        logits = output.pred_masks[0, :, :1].float()  # (N, 1, h, w)
        whole = F.interpolate(logits, (image.height, image.width), mode="bilinear", align_corners=False)
        return (whole[:, 0] > 0).cpu().numpy()
