"""`mini:llm`: a Llama of about 2M parameters that writes, as JSON, edit instructions and what the storybook shows."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from distill.miniatures.loop import Figures, fit
from limbeck.prompts import SHORT_EDIT, edit_answer, messages
from limbeck.questions import teaching
from limbeck.questions.context import TASKS, Task
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


def written(rng: np.random.Generator, split: Split = "train") -> tuple[str, str, Scene, Task]:
    """One prompt for a conversation, a description or reasoning about a random scene, and the answer to it.

    Returns:
        (user message, assistant message, scene, task).
    """
    scene = sample_scene(rng, split=split)
    prompt, answer, task = teaching.example(scene, random.Random(int(rng.integers(2**32))))
    return prompt, answer, scene, task


def lesson(rng: np.random.Generator, edits: float = 0.5) -> tuple[str, str]:
    """A prompt and its answer: of an edit with that chance, else of a written type."""
    return (example if rng.random() < edits else written)(rng)[:2]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most 768 tokens, trained on prompts and answers."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    def corpus() -> Iterator[str]:
        rng = np.random.default_rng(0)
        for _ in range(6000):
            yield from lesson(rng)

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        special_tokens=[PAD, END, USER, ASSISTANT, "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=END, padding_side="left", chat_template=TEMPLATE
    )


def build(vocab_size: int) -> LlamaForCausalLM:
    """A fresh Llama: five layers of width 160."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=160,
            intermediate_size=432,
            num_hidden_layers=5,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
            initializer_range=0.08,  # about 1 / sqrt(width); the usual 0.02 is for widths in the thousands
            attn_implementation="sdpa",
        )
    )


@dataclass(frozen=True)
class Corpus:
    """`ids` is (N, LONGEST) int16, prompts and answers padded on the right; `ends` is (N, 2): where each of both ends."""

    ids: torch.Tensor
    ends: torch.Tensor


LONGEST = 320
"""Longest prompt and answer together, in tokens; no example so far was longer."""
_CHUNK = 1000
SIEVE = 8
"""Batches drawn together and sorted by length, of which one is used."""


def _chunk(job: tuple[int, int, float, str]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    from transformers import AutoTokenizer

    index, n, edits, folder = job
    tokenizer, rng = AutoTokenizer.from_pretrained(folder), np.random.default_rng([7, index])
    pairs = [lesson(rng, edits) for _ in range(n)]
    prompts = tokenizer([f"{USER}{p}{END}{ASSISTANT}" for p, _ in pairs], add_special_tokens=False).input_ids
    answers = tokenizer([f"{a}{END}" for _, a in pairs], add_special_tokens=False).input_ids
    ids, ends = np.zeros((n, LONGEST), np.int16), np.zeros((n, 2), np.int16)
    for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, : len(p) + len(a)], ends[row] = p + a, (len(p), len(p) + len(a))
    return ids, ends


def open_corpus(folder: Path, n: int, tokenizer: PreTrainedTokenizerFast, edits: float = 0.5) -> Corpus:
    """Opens `n` lessons, that share of them edits, writing them first where they are not there yet."""
    cache = folder / f"lessons-{n}-{edits}.npz"
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder / "tokenizer")
        jobs = [(i, min(_CHUNK, n - i * _CHUNK), edits, str(folder / "tokenizer")) for i in range(-(-n // _CHUNK))]
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(_chunk, jobs))
        np.savez(cache.with_suffix(".part.npz"), *(np.concatenate(part) for part in zip(*parts, strict=True)))
        cache.with_suffix(".part.npz").rename(cache)
    with np.load(cache) as found:
        return Corpus(torch.from_numpy(found["arr_0"]), torch.from_numpy(found["arr_1"]))


def train(
    model: LlamaForCausalLM,
    corpus: Corpus,
    work: Path,
    *,
    device: str = "cpu",
    steps: int = 4000,
    batch: int = 24,
    lr: float = 3e-3,
    seconds: float = math.inf,
    every: int = 250,
) -> LlamaForCausalLM:
    """Trains on answers only; prompts and padding carry no loss, the end token does.

    Args:
        model: where to begin.
        corpus: lessons.
        work: folder of checkpoints.
        device: where to train.
        steps: optimiser steps.
        batch: lessons a step.
        lr: peak learning rate.
        seconds: ends the run sooner.
        every: steps between checkpoints.
    """
    model = model.to(device)
    all_ids, all_ends, at = corpus.ids.to(device), corpus.ends.to(device), torch.arange(LONGEST, device=device)
    longest = corpus.ends[:, 1].numpy()

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        drawn = rng.integers(len(longest), size=SIEVE * batch)
        drawn = drawn[np.argsort(longest[drawn], kind="stable")]  # lessons of about one length: little padding
        chosen = drawn.reshape(SIEVE, batch)[rng.integers(SIEVE)]
        width = min(LONGEST, -(-int(longest[chosen].max()) // 16) * 16)
        where = torch.from_numpy(chosen).to(device)
        ids, ends, here = all_ids[where, :width].long(), all_ends[where], at[:width]
        answered = (here >= ends[:, :1]) & (here < ends[:, 1:])
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            logits = model(input_ids=ids).logits
        target = ids.masked_fill(~answered, -100)[:, 1:]
        value = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), target.flatten(), ignore_index=-100)
        return value, {"tokens": width}

    return fit(
        model,
        loss,
        work,
        steps=steps,
        lr=lr,
        seconds=seconds,
        every=every,
        warmup=200,
        decay=0.4,
        ema=0.998,
        weight_decay=0.05,
    )


def save(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Writes a Llama folder in fp16, with `world.json`: what it can be asked."""
    import copy

    copy.deepcopy(model).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    world = {
        "prompt_style": "short",
        "edit_types": list(EDIT_TYPES),
        "visual_tasks": list(TASKS),
        "languages": ["en"],
        "words": words(),
        "max_caption_chars": 300,
    }
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
