"""The score role through transformers: CLIP, SigLIP, SigLIP 2 for pictures and texts, DINOv2 for pictures alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import cached_file

from limbeck.errors import MissingExtra, ModelNotFound, SettingError, one_line
from limbeck.models.preprocess import Preprocess, Resize
from limbeck.models.quiet import without_bars
from limbeck.models.weights import require_all_weights, require_safetensors, weights_name

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.models.spec import ModelSpec

ARCHITECTURES = {
    "clip": "CLIP",
    "siglip": "SigLIP, and SigLIP 2 at fixed size",
    "siglip2": "SigLIP 2 NaFlex",
    "dinov2": "DINOv2",
    "dinov2_with_registers": "DINOv2 with registers",
}
"""`model_type` of the configs that can be loaded."""
_PADDED_TO_LIMIT = ("siglip", "siglip2")  # trained on texts padded to the limit and without an attention mask
_DTYPES = {"auto": "float32", "float32": "float32", "float16": "float16", "bfloat16": "bfloat16"}
_Item = TypeVar("_Item")


class TransformersScore:
    """Embeds pictures and texts with one model, in batches.

    Attributes:
        fingerprint: changes with the weights, the dtype and the way pictures are resized.
        revision: branch, tag or commit of a Hub id.
        resize: how pictures are resized.
        has_text: whether texts can be embedded; DINOv2 knows pictures only.
        dim: length of an embedding.
        max_tokens: token limit of a text, 0 without text.
        image_parameters: of what embeds pictures: vision tower and projection.
    """

    def __init__(
        self,
        folder_or_id: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 64,
        resize: Resize = "model",
    ) -> None:
        """Loads the model, its tokenizer and its preprocessing.

        Args:
            folder_or_id: a folder that `save_pretrained` wrote, or a Hub id.
            revision: branch, tag or commit of a Hub id.
            device: a torch device, or `auto`: CUDA, then MPS, then the CPU.
            dtype: `float32`, `float16` or `bfloat16`; `auto` is float32, as the differences that make up a
                direction score are small.
            batch_size: pictures or texts at once; halved by itself when memory runs out.
            resize: `model`, or `ip2p` for the aliased resize of InstructPix2Pix's scorer.

        Raises:
            ModelNotFound: nothing there, it can't be loaded, or the architecture isn't one of `ARCHITECTURES`.
            UnsafeWeights: pickled weights only.
            SettingError: a dtype, resize or batch size that can't be had.
            MissingExtra: the tokenizer needs a package that isn't installed.
        """
        self.name, self.batch_size = str(folder_or_id), batch_size
        self.revision, self.resize = revision, resize
        if dtype not in _DTYPES:
            raise SettingError(f"dtype = {dtype!r}", expected=", ".join(_DTYPES), where=self.name)
        if resize not in ("model", "ip2p"):
            raise SettingError(f"resize = {resize!r}", expected="model or ip2p", where=self.name)
        if batch_size < 1:
            raise SettingError(f"batch_size = {batch_size}", expected="1 or more", where=self.name)
        require_safetensors(folder_or_id, revision)
        self.device, self.dtype = _device(device), getattr(torch, _DTYPES[dtype])
        hub = {"revision": revision, "trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(self.name, **hub)
            self.model_type: str = config.model_type
            if self.model_type not in ARCHITECTURES:
                raise ModelNotFound(
                    f"found an architecture of type {self.model_type!r}",
                    expected=f"a scorer: {', '.join(ARCHITECTURES.values())}",
                    where=self.name,
                )
            with without_bars():
                self._model, loaded = AutoModel.from_pretrained(
                    self.name, dtype=self.dtype, use_safetensors=True, output_loading_info=True, **hub
                )
            require_all_weights(loaded, self.name)
            self._preprocess = Preprocess.load(self.name, revision, resize)
            self.has_text = hasattr(self._model, "get_text_features")
            self._tokenizer = AutoTokenizer.from_pretrained(self.name, **hub) if self.has_text else None
        except ImportError as error:
            package = next((p for p in ("sentencepiece", "protobuf") if p in str(error).lower()), "transformers")
            raise MissingExtra(package, where=self.name) from error
        except SettingError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelNotFound(f"transformers could not load it: {one_line(error)}", where=self.name) from error
        self._model.to(self.device).eval().requires_grad_(False)
        self.max_tokens: int = config.text_config.max_position_embeddings if self.has_text else 0
        self.dim = _dim(config)
        self.image_parameters = _image_parameters(self._model)
        weights = weights_name(folder_or_id, Path(cached_file(self.name, "config.json", revision=revision)).parent)
        self.fingerprint = f"score:{weights}:{_DTYPES[dtype]}:{resize}"

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> TransformersScore:
        """Builds it from a recipe's `[models]` entry."""
        return cls(
            spec.id,
            revision=spec.revision,
            device=spec.device,
            dtype=spec.dtype,
            batch_size=spec.batch_size or 64,
            resize=spec.resize,
        )

    def embed_images(self, images: Sequence[Image.Image | np.ndarray]) -> np.ndarray:
        """Embeds pictures of any sizes.

        Args:
            images: 8-bit PIL images, or (H, W, 3) uint8 arrays.

        Returns:
            (N, dim) float32, rows of unit length.

        Raises:
            TypeError: a picture of floats, whose range ([0, 1] or [-1, 1]) would be a guess.
        """

        def embed(batch: list[Image.Image | np.ndarray]) -> torch.Tensor:
            inputs = {key: value.to(self.device) for key, value in self._preprocess(batch).items()}
            inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
            output = self._model.get_image_features(**inputs) if self.has_text else self._model(**inputs)
            return output.pooler_output

        return self._batched(list(images), embed)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeds texts, each distinct one once; a text past `max_tokens` is cut.

        Returns:
            (N, dim) float32, rows of unit length.

        Raises:
            ModelNotFound: the model knows no text.
        """
        if self._tokenizer is None:
            raise ModelNotFound(
                f"{ARCHITECTURES[self.model_type]} embeds pictures only",
                expected="a model of pictures and texts, such as CLIP",
                where=self.name,
            )

        def embed(batch: list[str]) -> torch.Tensor:
            fixed = self.model_type in _PADDED_TO_LIMIT
            inputs = self._tokenizer(
                batch,
                padding="max_length" if fixed else True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
                return_attention_mask=not fixed,
            ).to(self.device)
            inputs.pop("token_type_ids", None)
            return self._model.get_text_features(**inputs).pooler_output

        distinct = list(dict.fromkeys(texts))
        place = {text: index for index, text in enumerate(distinct)}
        return self._batched(distinct, embed)[[place[text] for text in texts]]

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Which texts are longer than `max_tokens`, so that their end isn't seen."""
        if self._tokenizer is None or not texts:
            return [False] * len(texts)
        lengths = self._tokenizer(list(texts), truncation=False, return_attention_mask=False, verbose=False)
        return [len(ids) > self.max_tokens for ids in lengths["input_ids"]]

    def contrast(self) -> dict[str, float | str]:
        """How similarities became probabilities in training: `kind`, `scale` (exp of what is learnt), and `bias`.

        `softmax`: over texts, of scale * cosine (CLIP). `sigmoid`: of scale * cosine + bias, each pair by itself
        (SigLIP). Without text, `none` with scale 1.
        """
        if not self.has_text:
            return {"kind": "none", "scale": 1.0, "bias": 0.0}
        bias = getattr(self._model, "logit_bias", None)
        return {
            "kind": "softmax" if bias is None else "sigmoid",
            "scale": float(self._model.logit_scale.detach().float().exp()),
            "bias": 0.0 if bias is None else float(bias.detach().float()),
        }

    @torch.inference_mode()
    def _batched(self, items: list[_Item], embed: Callable[[list[_Item]], torch.Tensor]) -> np.ndarray:
        """Runs `embed` batch by batch and brings rows to unit length, in float32."""
        out = np.zeros((len(items), self.dim), dtype=np.float32)
        start = 0
        while start < len(items):
            batch = items[start : start + self.batch_size]
            try:
                features = embed(batch)
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
                self.batch_size = max(1, self.batch_size // 2)
                torch.cuda.empty_cache()
                continue
            unit = torch.nn.functional.normalize(features.float(), dim=-1)
            out[start : start + len(batch)] = unit.cpu().numpy()
            start += len(batch)
        return out


def _device(device: str) -> torch.device:
    """The device a setting means; `auto` takes an accelerator where there is one."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dim(config: object) -> int:
    """Length of an embedding: CLIP projects, SigLIP and DINOv2 give the width of their vision tower."""
    if hasattr(config, "projection_dim"):
        return config.projection_dim
    return getattr(config, "vision_config", config).hidden_size


def _image_parameters(model: torch.nn.Module) -> int:
    """Parameters that a picture goes through."""
    parts = [getattr(model, name, None) for name in ("vision_model", "visual_projection")]
    return sum(p.numel() for part in parts if part is not None for p in part.parameters()) or sum(
        p.numel() for p in model.parameters()
    )
