"""`mini:llm`: a Llama of about 1M parameters that writes edit instructions for the storybook, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from distill.miniatures.loop import fit
from limbeck.prompts import SHORT_EDIT, edit_answer, messages
from limbeck.storybook import caption, parse_caption, parse_instruction, sample_edit, sample_scene
from limbeck.storybook.edits import EDIT_TYPES, instruction
from limbeck.storybook.grammar import words
from limbeck.storybook.scene import Scene, Split

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def example(rng: np.random.Generator, split: Split = "train") -> tuple[str, str, Scene, str]:
    """One prompt and the answer to it: a random scene and edit type.

    Where the type is impossible in the scene, both strings of the answer are empty, which the stage reads as "no such
    edit here".

    Returns:
        (user message, assistant message, scene, edit type).
    """
    scene = sample_scene(rng, split=split)
    type = EDIT_TYPES[int(rng.integers(len(EDIT_TYPES)))]
    before = caption(scene)
    edit = sample_edit(rng, scene, type)
    after = edit.apply(scene) if edit else None
    told, output = (instruction(edit, rng), caption(after)) if edit and after else ("", "")
    prompt = messages(SHORT_EDIT, edit_type=type, caption=before)[0]["content"]
    return prompt, edit_answer(told, output), scene, type


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most 640 tokens, trained on prompts and answers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    def corpus() -> Iterator[str]:
        rng = np.random.default_rng(0)
        for _ in range(3000):
            prompt, answer, *_ = example(rng)
            yield prompt
            yield answer

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=640,
        special_tokens=[PAD, END, USER, ASSISTANT, "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=END, padding_side="left", chat_template=TEMPLATE
    )


def build(vocab_size: int) -> LlamaForCausalLM:
    """A fresh Llama: four layers of width 128."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
            initializer_range=0.08,  # about 1 / sqrt(width); the usual 0.02 is for widths in the thousands
            attn_implementation="sdpa",
        )
    )


def train(
    tokenizer: PreTrainedTokenizerFast, work: Path, *, steps: int = 2000, batch: int = 24, lr: float = 3e-3
) -> LlamaForCausalLM:
    """Trains on answers only; prompts and padding carry no loss, the end token does."""
    model = build(len(tokenizer))

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        pairs = [example(rng)[:2] for _ in range(batch)]
        prompts = tokenizer([f"{USER}{p}{END}{ASSISTANT}" for p, _ in pairs], add_special_tokens=False).input_ids
        answers = tokenizer([f"{a}{END}" for _, a in pairs], add_special_tokens=False).input_ids
        width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        ids = torch.zeros(batch, width, dtype=torch.long)
        labels = torch.full((batch, width), -100)
        for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
            ids[row, : len(p) + len(a)] = torch.tensor(p + a)
            labels[row, len(p) : len(p) + len(a)] = torch.tensor(a)
        value = model(input_ids=ids, labels=labels).loss
        return value, {"tokens": width}

    return fit(model, loss, work, steps=steps, lr=lr, warmup=200, decay=0.3, ema=0.998, weight_decay=0.05)


def save(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Writes a Llama folder in fp16, with `world.json`: what it can be asked."""
    import copy

    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    world = {"prompt_style": "short", "edit_types": list(EDIT_TYPES), "words": words(), "max_caption_chars": 300}
    (folder / "world.json").write_text(json.dumps(world, indent=1) + "\n")


def judge(answer: str, before: str, type: str) -> tuple[bool, bool]:
    """Whether an answer is valid JSON of the schema, and whether its caption is what its instruction says.

    The grammar is the judge: the instruction is parsed, applied to the scene before, and compared with the scene that
    the new caption describes. An empty answer is right only where the type is impossible.
    """
    try:
        said = json.loads(answer)
        told, output = said["edit"], said["output"]
    except (ValueError, KeyError, TypeError):
        return False, False
    if not isinstance(told, str) or not isinstance(output, str):
        return False, False
    scene = parse_caption(before)
    assert scene, before
    if not told:
        return True, not output and sample_edit(np.random.default_rng(0), scene, type) is None
    edit, after = parse_instruction(told), parse_caption(output)
    expected = edit.apply(scene) if edit and edit.type == type else None
    return True, bool(expected and after and expected.same_content(after))
