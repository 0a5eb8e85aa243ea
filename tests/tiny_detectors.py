"""Tiny Grounding DINO and SAM 2 with random weights, of the real architectures, saved as `save_pretrained` saves the big ones."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
    SwinConfig,
)

SIDE = 64


def tiny_grounding_dino(folder: Path, *, seed: int = 0, spread: float = 1.0) -> Path:
    """A `GroundingDinoForObjectDetection` that reads words letter by letter; pictures' shorter side becomes 128 px."""
    letters = list(string.ascii_lowercase)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *letters, *(f"##{letter}" for letter in letters)]
    text = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    backbone = SwinConfig(
        image_size=SIDE, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=2,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    config = GroundingDinoConfig(
        backbone_config=backbone, text_config=text, num_queries=12, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2, d_model=32, max_text_len=64,
        disable_custom_kernels=True,
    )  # fmt: skip
    _save(folder, GroundingDinoForObjectDetection, config, seed, spread)
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 2 * SIDE, "longest_edge": 4 * SIDE}).save_pretrained(folder)
    return folder


def tiny_sam2(folder: Path, *, seed: int = 0) -> Path:
    """A `Sam2Model` for pictures of 64 px."""
    backbone = Sam2HieraDetConfig(
        hidden_size=8, image_size=[SIDE, SIDE], blocks_per_stage=[1, 1, 1, 1], embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1], window_size_per_stage=[4, 2, 4, 2], global_attention_blocks=[],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=32,
    )  # fmt: skip
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=32, image_size=SIDE, patch_size=16),
        mask_decoder_config=Sam2MaskDecoderConfig(
            hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=32
        ),
    )
    _save(folder, Sam2Model, config, seed, 1.0)
    pixels = {"size": {"height": SIDE, "width": SIDE}, "resample": 2, "do_normalize": True, "do_rescale": True}
    pixels |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder


def _save(folder, model_class, config, seed: int, spread: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(spread if parameter.ndim > 1 else 1)
    model.save_pretrained(folder)
