"""Tiny language models and VLMs with random weights, and a small build that they can be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

import limbeck
from distill import opening
from distill import recipe as recipes
from distill.arm_names import ARMS
from distill.progress import Watcher
from distill.student import terms_for
from distill.vlm import asking
from limbeck.models import MINIATURES
from limbeck.pictures import decode

WORDS = ("<pad>", "<end>", "<user>", "<bot>", "is", "it", "red", "why", "yes", "no", "so", "?")
TEMPLATE = (
    "{% for m in messages %}{{ ('<user> ' if m['role'] == 'user' else '<bot> ') + m['content'] + ' <end>' }}{% endfor %}"
    "{% if add_generation_prompt %}<bot> {% endif %}"
)
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SMOLVLM = (
    "{% for m in messages %}{{ m['role'] | capitalize + ':' }}{% for p in m['content'] %}"
    "{{ '<image>' if p['type'] == 'image' else ' ' + p['text'] }}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
RECIPE = """
[dataset]
name = "{name}"
record = "VisualInstruction"
seed = {seed}
license = "cc0-1.0"

[source]
storybook = {{ rows = {rows} }}

[[stages]]
use = "visual_questions"
per_scene = 3
two_pictures = 1
minimal_pairs = 1
languages = {{ en = 1.0 }}
types = {{ existence = 1.0, attribute = 1.0, setting = 1.0 }}
pictures = {pictures}
"""


def word_tokenizer(words=WORDS, template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token a word, numbered as in the list, so that ids can be worked out by hand."""
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if "\n" in words:
        split = [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "removed")]
        inner.pre_tokenizer = pre_tokenizers.Sequence(split)
    inner.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words if word[0] == "<"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", chat_template=template)


def tiny_llama(folder: Path, tokenizer=None, *, rows: int | None = None, tied: bool = True, seed: int = 0) -> Path:
    """A Llama of two layers; by default with the tokenizer of `mini:llm` under a template like SmolLM2's.

    Args:
        folder: to write to.
        tokenizer: its tokenizer.
        rows: of the embedding matrix, where it has more than there are tokens.
        tied: whether the output shares them.
        seed: of the weights.
    """
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llm")
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.eos_token, tokenizer.chat_template = "<|im_end|>", CHATML
    config = LlamaConfig(
        vocab_size=rows or len(tokenizer), hidden_size=24, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=tied, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, initializer_range=0.2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_smolvlm(folder: Path) -> Path:
    """SmolVLM's architecture: the tokens of `mini:llm`, control tokens and an end token of its own, rows to spare."""
    tokenizer = AutoTokenizer.from_pretrained(MINIATURES / "llm")
    own = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
    tokenizer.add_special_tokens({"additional_special_tokens": own})
    tokenizer.eos_token = "<end_of_utterance>"
    text = {
        "model_type": "llama", "vocab_size": len(tokenizer) + 5, "hidden_size": 24, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "pad_token_id": 0, "initializer_range": 0.2,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
        "patch_size": 8,
    }  # fmt: skip
    config = Idefics3Config(
        text_config=text, vision_config=vision, scale_factor=2, pad_token_id=0,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=SMOLVLM).save_pretrained(folder)
    return folder


def small_questions(folder: Path, *, name: str = "small", rows: int = 40, seed: int = 7, pictures: bool = True) -> Path:
    """A build of visual questions in English, of existence, attributes, setting and two pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(name=name, rows=rows, seed=seed, pictures=json.dumps(pictures)))
    return limbeck.build(recipe, folder / "out").path


def student_recipe(*, steps: int, test_rows: int, lr: float = 1e-3) -> str:
    """A student of `clip` and `llama` on the build `questions/out`, all beside it; each phase takes so many steps."""
    return f"""
[distill]
name = "tiny"
license = "cc0-1.0"

[source]
build = "questions/out"

[models]
vision = "clip"
language = "llama"

[student]
use = "vlm"
align_on = ["existence"]
answer_tokens = 4
closed_tokens = 4

[train]
steps = {steps}
batch_size = 6
warmup = 1
lr = {lr}
evaluate_every = {steps}
checkpoint_every = 1

[evaluate]
dev_rows = 6
test_rows = {test_rows}

[arms]
seeds = 1
"""


def work_of(home, out, *sets, arm="both"):
    """Rows, the teacher's answers and loss terms of `home/recipe.toml`, ready to train."""
    recipe = recipes.load(home / "recipe.toml", sets=sets)
    opening.claim(recipe, out)
    work = opening.taught(opening.work_of(recipe, out, "cpu", Watcher()), range(1), Watcher())
    return work.with_(terms=terms_for(recipe.student, ARMS[arm].signals, {}))


def stock_inputs(folder, row):
    """A row's question through the saved processor alone."""
    question = asking.question(row)
    pictures = iter([decode(image) for image in question.images])

    def part(p):
        return (
            {"type": "image", "image": next(pictures)} if p["type"] == "image" else {"type": "text", "text": p["text"]}
        )

    typed = [{"role": m["role"], "content": [part(p) for p in m["content"]]} for m in question.messages]
    return AutoProcessor.from_pretrained(folder).apply_chat_template(
        typed, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
