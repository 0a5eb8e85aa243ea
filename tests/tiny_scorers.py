"""Tiny scorers with random weights, of the real architectures, saved as `save_pretrained` saves the big ones."""

from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipTokenizer,
)

TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXTS = ["a red ball on the grass", "a blue ball on the grass at night", "two cats under a tree", "a house", "snow"]


def tiny_clip(folder: Path, *, seed: int = 0, max_tokens: int = 24) -> Path:
    """A `CLIPModel` for pictures of 32 px with a byte-level tokenizer: "a red ball" is 10 tokens and two more."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[])
    special = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1, "pad_token_id": len(tokens) - 1}
    config = CLIPConfig(
        text_config=TOWER | special | {"vocab_size": len(tokens), "max_position_embeddings": max_tokens},
        vision_config=TOWER | {"image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _save(folder, CLIPModel, config, processor, tokenizer, seed)


def tiny_siglip(folder: Path) -> Path:
    """A `SiglipModel` with a sentencepiece tokenizer trained on the spot."""
    config = SiglipConfig(
        text_config=TOWER | {"vocab_size": 60, "max_position_embeddings": 16, "projection_size": 16},
        vision_config=TOWER | {"image_size": 32, "patch_size": 8},
    )
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return _save(folder, SiglipModel, config, processor, SiglipTokenizer(_sentencepiece(folder)), 0)


def tiny_siglip2(folder: Path) -> Path:
    """A NaFlex `Siglip2Model`: at most 16 patches of 8 px, any proportions."""
    vocabulary = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4}
    vocabulary |= {chr(code): index for index, code in enumerate((0x2581, *range(97, 123)), start=5)}
    config = Siglip2Config(
        text_config=TOWER | {"vocab_size": len(vocabulary), "max_position_embeddings": 16, "projection_size": 16},
        vision_config=TOWER | {"patch_size": 8, "num_patches": 16},
    )
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return _save(folder, Siglip2Model, config, processor, Siglip2Tokenizer(vocab=vocabulary, merges=[]), 0)


def tiny_dinov2(folder: Path) -> Path:
    """A `Dinov2Model`: pictures only."""
    config = Dinov2Config(**TOWER, image_size=32, patch_size=8)
    processor = BitImageProcessorPil(
        size={"shortest_edge": 36},
        crop_size={"height": 32, "width": 32},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    return _save(folder, Dinov2Model, config, processor, None, 0)


def _save(folder, model_class, config, processor, tokenizer, seed: int) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():  # random weights of the usual size embed all inputs nearly alike
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    model.save_pretrained(folder)
    for part in (processor, tokenizer):
        if part is not None:
            part.save_pretrained(folder)
    return folder


def _sentencepiece(folder: Path) -> str:
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts").write_text("\n".join(TEXTS * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "texts"), model_prefix=str(folder / "spiece"), vocab_size=60, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "texts").unlink()
    return str(folder / "spiece.model")
