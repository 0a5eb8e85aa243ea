"""A vision tower, a projector and a language model as one `LlavaForConditionalGeneration`, and its folder.

    pictures -> tower (frozen) -> chosen layers, (N, tokens, width) -> projector, two layers -> the language model's inputs

Both towers come with trained weights; the projector is fresh. The folder is what `from_pretrained` loads, processor
included: preprocessing of the tower, tokenizer of the language model, one chat template for typed blocks.

Source: Liu et al. 2023, Visual Instruction Tuning; Liu et al. 2023, Improved Baselines (the two-layer projector).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from distill.vlm.words import IMAGE, Words
from limbeck.errors import ModelNotFound, one_line
from limbeck.models.preprocess import Preprocess
from limbeck.models.quiet import quiet
from limbeck.models.weights import require_all_weights, require_safetensors

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

_CLASS_TOKENS = {"clip": 1, "clip_vision_model": 1, "siglip": 0, "siglip_vision_model": 0}
"""`model_type` of vision towers that Llava's format can hold, to the tokens that they have beside those of patches."""


@dataclass(frozen=True)
class Sight:
    """How a tower's pictures become tokens.

    Attributes:
        place: folder or Hub id of the tower.
        revision: of a Hub id.
        layers: whose outputs are taken, counted from the end as -1, -2; several are put beside each other.
        class_token: whether a class token is kept among the patches' where there is one.
    """

    place: str
    revision: str | None = None
    layers: tuple[int, ...] = (-2,)
    class_token: bool = False

    def config(self) -> PretrainedConfig:
        """Of the vision tower alone.

        Raises:
            ModelNotFound: it can't be read, or is of another architecture.
        """
        return _vision_config(self.place, self.revision)

    @property
    def strategy(self) -> str:
        """Llava's name for what becomes of the class token: `default` drops the first token, `full` keeps all."""
        return "default" if self._extra and not self.class_token else "full"

    @property
    def tokens(self) -> int:
        """Of a picture.

        >>> Sight("limbeck/miniatures/clip").tokens, Sight("limbeck/miniatures/clip", class_token=True).tokens
        (64, 65)
        """
        config = self.config()
        patches = (config.image_size // config.patch_size) ** 2
        return patches + (self._extra if self.class_token else 0)

    @property
    def _extra(self) -> int:
        return _CLASS_TOKENS[self.config().model_type]


@cache
def _vision_config(place: str, revision: str | None) -> PretrainedConfig:
    try:
        found = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(f"its config can't be read: {error}", where=f"model {place}") from error
    if found.model_type not in _CLASS_TOKENS:
        raise ModelNotFound(
            f"found a vision tower of type {found.model_type!r}",
            expected="CLIP, SigLIP, or SigLIP 2 at fixed size",
            where=f"model {place}",
        )
    return getattr(found, "vision_config", found)


def words_of(place: str, sight: Sight, revision: str | None = None, soft: int = 0) -> Words:
    """The language model's tokenizer, told of pictures and of so many soft tokens.

    Raises:
        ModelNotFound: it can't be loaded.
    """
    return Words(tokenizer_of(place, revision), sight.tokens, place, soft)


def tokenizer_of(place: str, revision: str | None = None) -> Any:
    """A model's tokenizer; of one that sees, its processor's.

    Raises:
        ModelNotFound: it can't be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(place, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(f"its tokenizer can't be loaded: {error}", where=f"model {place}") from error


def joined(
    sight: Sight, language: str, words: Words, *, revision: str | None = None, layers: int | None = None
) -> LlavaForConditionalGeneration:
    """Both towers with their weights, and a fresh projector between them; float32, on the CPU.

    Soft tokens begin as tokens drawn from the vocabulary; `soft_ids` of the model names them. It never generates one.

    Args:
        sight: the vision tower.
        language: folder or Hub id of a causal language model.
        words: its tokenizer, told of pictures; the model gets rows for tokens that it has none for.
        revision: of a Hub id.
        layers: how many of the language model's layers are kept, spaced evenly; None is all.

    Raises:
        ModelNotFound: a tower can't be loaded, or weights are missing.
        UnsafeWeights: pickled weights only.
    """
    speaker = _loaded(AutoModelForCausalLM, language, revision)
    if layers is not None:
        keep_layers(speaker, layers)
    if len(words.tokenizer) > speaker.get_input_embeddings().num_embeddings:
        speaker.resize_token_embeddings(len(words.tokenizer), mean_resizing=False)
    if words.soft_ids:
        rows = speaker.get_input_embeddings().weight.data
        rows[words.soft_ids] = rows[torch.randint(len(words), (len(words.soft_ids),))]
    config = LlavaConfig(
        vision_config=sight.config(),
        text_config=speaker.config,
        image_token_id=words.image_id,
        image_seq_length=words.per_picture,
        vision_feature_layer=sight.layers[0] if len(sight.layers) == 1 else list(sight.layers),
        vision_feature_select_strategy=sight.strategy,
        tie_word_embeddings=bool(speaker.config.tie_word_embeddings),
    )
    model = LlavaForConditionalGeneration(config)
    tower = _loaded(type(model.model.vision_tower), sight.place, sight.revision)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(speaker.model.state_dict())
    if not config.tie_word_embeddings:
        model.lm_head.load_state_dict(speaker.lm_head.state_dict())
    model.generation_config.eos_token_id = words.end_id
    model.generation_config.pad_token_id = words.pad_id
    model.generation_config.suppress_tokens = words.soft_ids or None
    model.soft_ids = words.soft_ids
    return model.float()


def keep_layers(speaker: PreTrainedModel, count: int) -> None:
    """Keeps some layers of a language model, the first and the last among them.

    Source: Gandhi et al. 2023, Distil-Whisper, section 3 (maximally spaced layers).

    Raises:
        ModelNotFound: it hasn't so many.
    """
    layers = speaker.model.layers
    if count > len(layers):
        raise ModelNotFound(
            f"has {len(layers)} layers", expected=f"{count}, as language_layers says", where=speaker.name_or_path
        )
    chosen = spaced(len(layers), count)
    speaker.model.layers = nn.ModuleList([layers[i] for i in chosen])
    for i, layer in enumerate(speaker.model.layers):
        layer.self_attn.layer_idx = i
    speaker.config.num_hidden_layers = count
    if getattr(speaker.config, "layer_types", None):
        speaker.config.layer_types = [speaker.config.layer_types[i] for i in chosen]


def spaced(many: int, few: int) -> list[int]:
    """Evenly spaced numbers below `many`.

    >>> spaced(5, 3), spaced(12, 2), spaced(4, 4), spaced(4, 1)
    ([0, 2, 4], [0, 11], [0, 1, 2, 3], [0])
    """
    return [round(i * (many - 1) / max(1, few - 1)) for i in range(few)]


def save(model: LlavaForConditionalGeneration, words: Words, sight: Sight, folder: Path) -> None:
    """Writes model and processor."""
    model.config.text_config.name_or_path = ""  # transformers would write where on this machine the language model lies
    model.save_pretrained(folder, safe_serialization=True)
    images = AutoImageProcessor.from_pretrained(sight.place, revision=sight.revision, trust_remote_code=False)
    config = sight.config()
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=words.tokenizer,
        patch_size=config.patch_size,
        vision_feature_select_strategy=sight.strategy,
        num_additional_image_tokens=_CLASS_TOKENS[config.model_type],
        chat_template=words.tokenizer.chat_template,
        image_token=IMAGE,
    )
    processor.save_pretrained(folder)


def load(folder: Path) -> LlavaForConditionalGeneration:
    """The model of such a folder."""
    return LlavaForConditionalGeneration.from_pretrained(folder, use_safetensors=True).eval()


def pixels_of(sight: Sight) -> Preprocess:
    """The tower's own preprocessing."""
    return Preprocess.load(sight.place, sight.revision)


def kept_frozen(module: nn.Module) -> None:
    """No gradients, and evaluation mode whatever mode its parent is put into."""
    module.requires_grad_(False).eval()
    module.train = lambda mode=True: module  # type: ignore[method-assign]


def trained(model: LlavaForConditionalGeneration, parts: Sequence[str]) -> None:
    """Lets some of `vision`, `projector` and `language` learn; everything else is frozen."""
    if "vision" in parts:
        _learning(model)
    else:
        kept_frozen(model.model.vision_tower)
    model.model.multi_modal_projector.requires_grad_("projector" in parts)
    model.model.language_model.requires_grad_("language" in parts)
    model.lm_head.requires_grad_("language" in parts)


def _learning(model: LlavaForConditionalGeneration) -> None:
    """Lets the vision tower learn, as far as it is seen: weights that no output depends on would never get a gradient."""
    tower, seen = model.model.vision_tower, model.config.vision_feature_layer
    vars(tower).pop("train", None)  # see `kept_frozen`
    last = max(seen if isinstance(seen, list) else [seen])
    for name, parameter in tower.named_parameters():
        layer = re.search(r"\.layers\.(\d+)\.", f".{name}")
        unseen = layer is not None and int(layer[1]) > tower.config.num_hidden_layers + last
        parameter.requires_grad_(not unseen and "post_layernorm" not in name and "head." not in name)


def _loaded(kind: Any, place: str, revision: str | None) -> PreTrainedModel:
    require_safetensors(place, revision)
    try:
        with quiet():
            model, report = kind.from_pretrained(
                place,
                revision=revision,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelNotFound(f"doesn't load: {one_line(error)}", where=f"model {place}") from error
    require_all_weights(report, f"model {place}")
    return model
