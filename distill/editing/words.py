"""A tokenizer that knows captions learns the words of instructions, each as one token of its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

_WORD = re.compile(r"[^\W_]+")


def words_of(texts: Iterable[str]) -> Counter[str]:
    """How often each word is in the texts, in lower case.

    >>> words_of(["Make it night.", "make it day"])["make"]
    2
    """
    return Counter(word for text in texts for word in _WORD.findall(text.lower()))


def unknown_words(tokenizer: CLIPTokenizer, texts: Iterable[str], most: int) -> list[str]:
    """Words that the tokenizer cuts into pieces, the most frequent first, ties by the alphabet; at most `most`."""
    counts = words_of(texts)
    cut = [word for word in counts if len(tokenizer.tokenize(word)) > 1]
    return sorted(cut, key=lambda word: (-counts[word], word))[:most]


@torch.no_grad()
def add_words(tokenizer: CLIPTokenizer, text: CLIPTextModel, words: list[str]) -> None:
    """Makes each word one token, in place; its first embedding is the mean of those of its pieces.

    Whole words alone are matched, so that longer words with the same beginning stay what they were.
    """
    from tokenizers import AddedToken

    pieces = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)) for word in words]
    before = len(tokenizer)
    added = tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])
    assert added == len(words), f"{added} of {len(words)} words were new"
    text.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    table = text.get_input_embeddings().weight
    for at, ids in enumerate(pieces):
        table[before + at] = table[torch.tensor(ids)].mean(0)
