"""Training of the miniatures. Oracles: an undisturbed run, the grammar, hand-worked answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from distill.miniatures.llm import build_tokenizer as llm_tokenizer
from distill.miniatures.llm import example, judge
from distill.miniatures.loop import fit
from distill.miniatures.text import MAX_TOKENS, build_tokenizer
from limbeck.storybook import Scene, Thing, caption
from limbeck.storybook.grammar import words


def _fit(work, steps):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))

    def loss(rng, step):
        x = torch.from_numpy(rng.standard_normal((16, 4), dtype=np.float32))
        return (model(x) - x.sum(1, keepdim=True)).square().mean(), {}

    return fit(model, loss, work, steps=steps, lr=1e-2, warmup=5, decay=0.0, every=10)


def test_an_interrupted_training_ends_bit_equal(tmp_path):
    """Oracle: the same steps without the interruption, dropout included."""
    whole = _fit(tmp_path / "whole", 40)
    _fit(tmp_path / "halves", 20)
    halves = _fit(tmp_path / "halves", 40)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_a_number_stops(tmp_path):
    """Oracle: the error names the step; no checkpoint of the broken step is written."""
    model = nn.Linear(1, 1)

    def loss(rng, step):
        return model(torch.full((1, 1), float("nan") if step == 3 else 1.0)).sum(), {}

    with pytest.raises(FloatingPointError, match="at step 3"):
        fit(model, loss, tmp_path, steps=10, lr=1e-3, every=2)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2


def test_every_word_of_the_world_is_one_token():
    """Oracle: token counts; a foreign word falls into letters instead of vanishing."""
    tokenizer = build_tokenizer()
    for word in words():
        assert len(tokenizer(word).input_ids) == 3, word  # begin, word, end
    assert len(tokenizer("dragon").input_ids) >= 2 + 3
    longest = Scene(
        tuple(Thing(k, "orange", "small", p) for k, p in zip(("ball", "cat", "car"), ("left", "middle", "right"), strict=True)),
        "water", "sunset", "cloudy", "pastel",
    )  # fmt: skip
    assert len(tokenizer(caption(longest)).input_ids) <= MAX_TOKENS


def test_training_answers_are_right_by_the_grammar():
    """Oracle: `judge` parses instruction and caption and applies the edit itself."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        prompt, answer, scene, type = example(rng, "test")
        assert prompt == f"edit: {type}\ncaption: {caption(scene)}"
        assert judge(answer, caption(scene), type) == (True, True)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("make the ball blue", (False, False)),
        ('{"edit": "make the ball blue"}', (False, False)),
        ('{"edit": 1, "output": "x"}', (False, False)),
        ('{"edit": "make the ball blue", "output": "a big blue ball on the left, on grass, by day"}', (True, True)),
        ('{"edit": "make the ball blue", "output": "a big green ball on the left, on grass, by day"}', (True, False)),
        ('{"edit": "make it night", "output": "a big red ball on the left, on grass, at night"}', (True, False)),
        ('{"edit": "", "output": ""}', (True, False)),
    ],
)
def test_judge_on_hand_written_answers(answer, verdict):
    """Oracle: verdicts by hand, for a recolouring of a red ball."""
    assert judge(answer, "a big red ball on the left, on grass, by day", "recolour") == verdict


def test_chat_template_writes_what_the_model_was_trained_on():
    """Oracle: the training sequence, written by hand."""
    tokenizer = llm_tokenizer()
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|user|>hi<|end|><|assistant|>"
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.eos_token == "<|end|>"
