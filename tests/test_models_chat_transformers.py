"""TransformersChat on a tiny random Llama: its own answers alone, and transformers' greedy decoding, are the oracles."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from limbeck.errors import ModelError, ModelNotFound
from limbeck.models.chat_transformers import SeededSampling, TransformersChat

TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz,:{}\" "


def save_tiny_llama(folder, *, chat_template=TEMPLATE, world=None):
    torch.manual_seed(0)
    vocab = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = chat_template
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocab), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    if world is not None:
        (folder / "world.json").write_text(json.dumps(world))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_llama(tmp_path_factory.mktemp("llama"))


def ask(chat, texts, *, seeds=None, **settings):
    async def everything():
        calls = [
            chat.complete([{"role": "user", "content": t}], seed=s, max_tokens=24, **settings)
            for t, s in zip(texts, seeds or range(len(texts)), strict=True)
        ]
        return await asyncio.gather(*calls)

    return asyncio.run(everything())


TEXTS = ["red", "a blue tree by the sea", "q", "two cats, a dog and a very long caption about them", "moon"]


def test_greedy_is_what_transformers_generates(folder):
    chat = TransformersChat(folder)
    (answer,) = ask(chat, ["a blue tree"], temperature=0.0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = chat._tokenizer("<s>user: a blue tree</s><s>assistant: ", return_tensors="pt", add_special_tokens=False)
    written = model.generate(**prompt, do_sample=False, max_new_tokens=24)[0, prompt["input_ids"].shape[1] :]
    assert answer.text == chat._tokenizer.decode(written, skip_special_tokens=True)
    assert answer.usage.prompt_tokens == prompt["input_ids"].shape[1]


def test_a_row_answers_alike_alone_and_in_any_company(folder):
    chat = TransformersChat(folder, dtype="float64", max_batch=3)
    together = [a.text for a in ask(chat, TEXTS, temperature=1.0)]
    alone = [ask(chat, [t], seeds=[i], temperature=1.0)[0].text for i, t in enumerate(TEXTS)]
    backwards = [a.text for a in ask(chat, TEXTS[::-1], seeds=[4, 3, 2, 1, 0], temperature=1.0)][::-1]
    assert together == alone == backwards
    assert len(set(together)) == len(TEXTS)


def test_another_seed_answers_otherwise(folder):
    chat = TransformersChat(folder)
    first, again, other = ask(chat, ["red"] * 3, seeds=[1, 1, 2], temperature=1.0)
    assert first.text == again.text != other.text


def test_sampling_draws_from_the_softmax():
    logits = torch.tensor([[1.0, 0.0, 2.0, -1.0]])
    expected = torch.softmax(logits[0] / 0.8, dim=0).numpy()
    counts = np.zeros(4)
    for seed in range(4000):
        counts[SeededSampling([0.8], [seed], 1)(None, logits).argmax()] += 1
    assert np.abs(counts / 4000 - expected).max() < 0.03  # four standard errors


def test_requests_that_come_together_share_a_batch(folder):
    chat = TransformersChat(folder, max_batch=4)
    sizes, inner = [], chat._generate

    def generate(batch):
        sizes.append([request.length for request in batch])
        return inner(batch)

    chat._generate = generate
    ask(chat, [*TEXTS, "x"])
    assert [len(batch) for batch in sizes] == [4, 2]
    assert sizes == [sorted(batch) for batch in sizes]  # short ones together


def test_half_the_batch_when_memory_runs_out(folder):
    chat = TransformersChat(folder, max_batch=4)
    inner = chat._generate

    def generate(batch):
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return inner(batch)

    chat._generate = generate
    assert len(ask(chat, TEXTS)) == len(TEXTS)
    assert chat.max_batch == 2


def test_max_tokens_bounds_the_answer(folder):
    chat = TransformersChat(folder)
    (greedy,) = ask(chat, ["red"], temperature=0.0)
    unused = next(letter for letter in LETTERS if letter not in greedy.text)
    chat = TransformersChat(folder)
    chat._model.generation_config.eos_token_id = chat._tokenizer.convert_tokens_to_ids(unused)
    (answer,) = ask(chat, ["red"], temperature=0.0)
    assert answer.finish_reason == "length" and answer.usage.completion_tokens == 24


def test_a_conversation_beyond_the_context_fails_that_row(folder):
    chat = TransformersChat(folder)
    with pytest.raises(ModelError, match="at most 128"):
        ask(chat, ["a" * 120])


def test_a_picture_for_a_blind_model(folder):
    block = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    chat = TransformersChat(folder)
    with pytest.raises(ModelError, match="sees"):
        asyncio.run(chat.complete([{"role": "user", "content": [block]}]))


def test_no_chat_template(tmp_path):
    with pytest.raises(ModelNotFound, match="chat template"):
        TransformersChat(save_tiny_llama(tmp_path, chat_template=None))


def test_a_folder_of_another_architecture(tmp_path, folder):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "clip", "architectures": ["CLIPModel"]}))
    with pytest.raises(ModelNotFound, match="causal language model"):
        TransformersChat(tmp_path)


def test_a_miniature_refuses_words_it_never_saw(tmp_path, folder):
    world = {"words": ["a", "red", "tree"], "max_caption_chars": 20}
    chat = TransformersChat(save_tiny_llama(tmp_path, world=world))
    assert chat.prompt_style == "short"
    assert chat._model.dtype == torch.float64
    assert chat.check_prompt("A red tree.") is None
    assert "'zebra'" in chat.check_prompt("a red zebra")
    assert "20" in chat.check_prompt("a red tree " * 9)
    unlisted = TransformersChat(save_tiny_llama(tmp_path, world={"name": "letters"}))
    assert unlisted.check_prompt("a red tree") is None
    assert unlisted.check_prompt("빨간 나무") is not None
    assert TransformersChat(folder).check_prompt("빨간 나무") is None
