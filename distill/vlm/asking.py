"""Greedy answers to questions about pictures: with the picture, and with it hidden in three ways.

    seen        the row as it is
    blind       no picture: the question alone
    grey        a grey picture of the same size
    shuffled    the picture of a row of another source

What a model gets right without the picture it owes to the questions, not to its eyes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from distill.dataset import group_of
from distill.vlm.words import Words
from limbeck.errors import RequestError
from limbeck.pictures import Fault, decode, png
from limbeck.turns import Message, in_order

if TYPE_CHECKING:
    from PIL import Image
    from transformers import LlavaForConditionalGeneration

    from limbeck.models.preprocess import Preprocess

How = Literal["seen", "blind", "grey", "shuffled"]
HIDDEN: tuple[How, ...] = ("blind", "grey", "shuffled")
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is put to a model: turns up to the answer that is wanted, and the pictures in the order they appear in."""

    messages: list[Message]
    images: list[bytes]


def question(row: Row) -> Question:
    """A row's first question.

    Of a longer conversation the later ones would show the answers of the turns before them.
    """
    messages, images = in_order(row["messages"], row["images"])
    first = next(i for i, message in enumerate(messages) if message["role"] == "assistant")
    shown = sum(part["type"] == "image" for message in messages[:first] for part in message["content"])
    return Question(messages[:first], images[:shown])


def asked(rows: Sequence[Row], how: How = "seen") -> list[Question]:
    """The rows' questions, with their pictures or without."""
    found = [question(row) for row in rows]
    if how == "blind":
        return [Question(_without_pictures(q.messages), []) for q in found]
    if how == "grey":
        return [Question(q.messages, [_grey(image) for image in q.images]) for q in found]
    if how == "shuffled":
        others = strangers(rows, [len(q.images) for q in found])
        return [Question(q.messages, found[n].images) for q, n in zip(found, others, strict=True)]
    return found


def strangers(rows: Sequence[Row], shown: Sequence[int]) -> list[int]:
    """For each row another whose question shows as many pictures, of another source; itself, where there is none.

    >>> rows = [{"id": f"{s}/{n}"} for s in "ab" for n in range(2)]
    >>> strangers(rows, [1, 1, 1, 1]), strangers(rows, [1, 2, 2, 2])
    ([2, 3, 0, 1], [0, 2, 1, 1])

    Args:
        rows: what is asked.
        shown: how many pictures each row's question shows; of a longer conversation the row may have more.
    """
    classes: dict[int, list[int]] = {}
    for n, pictures in enumerate(shown):
        classes.setdefault(pictures, []).append(n)
    found = list(range(len(rows)))
    for members in classes.values():
        members.sort(key=lambda n: (group_of(rows[n]), rows[n]["id"]))
        half = len(members) // 2
        for at, n in enumerate(members):
            for step in range(len(members)):
                other = members[(at + half + step) % len(members)]
                if group_of(rows[other]) != group_of(rows[n]):
                    found[n] = other
                    break
    return found


def _without_pictures(messages: Sequence[Message]) -> list[Message]:
    return [m | {"content": [part for part in m["content"] if part["type"] != "image"]} for m in messages]


@lru_cache(maxsize=16)
def _grey_of(size: tuple[int, int]) -> bytes:
    return png(np.full((size[1], size[0], 3), 128, np.uint8))


def _grey(image: bytes) -> bytes:
    return _grey_of(picture(image, "").size)


def picture(data: bytes, row_id: str) -> Image.Image:
    """A decoded picture.

    Raises:
        RequestError: it can't be read.
    """
    found = decode(data)
    if isinstance(found, Fault):
        raise RequestError(
            f"a picture of row {row_id} is {found.reason}: {found.detail}",
            where="column images",
            remedy="leave such rows out of the dataset",
        )
    return found


@torch.inference_mode()
def rows_of_padding(model: Any, tokens: int) -> list[int] | None:
    """Ids that a model has an output for and nobody says, from `tokens` on; None where there are none."""
    return list(range(tokens, model.get_output_embeddings().out_features)) or None


def answers(
    model: LlavaForConditionalGeneration,
    words: Words,
    pixels: Preprocess,
    questions: Sequence[Question],
    longest: Sequence[int],
    *,
    batch: int = 96,
) -> list[str]:
    """What a model says, greedily.

    Args:
        model: in evaluation mode.
        words: its tokenizer.
        pixels: its tower's preprocessing.
        questions: to be answered.
        longest: most tokens of each answer.
        batch: questions at once; those of about one length are asked together.
    """
    prompts = [words.prompt(q.messages) for q in questions]
    order = sorted(range(len(prompts)), key=lambda n: (longest[n], len(prompts[n])))
    found = [""] * len(prompts)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        width = max(len(prompts[n]) for n in chosen)
        ids = torch.full((len(chosen), width), words.pad_id)
        seen = torch.zeros_like(ids)
        for row, n in enumerate(chosen):  # padding on the left: every answer begins at one place
            ids[row, width - len(prompts[n]) :] = torch.tensor(prompts[n])
            seen[row, width - len(prompts[n]) :] = 1
        shown = [picture(data, "") for n in chosen for data in questions[n].images]
        said = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=seen.to(model.device),
            **({"pixel_values": pixels(shown)["pixel_values"].to(model.device, model.dtype)} if shown else {}),
            do_sample=False,
            num_beams=1,
            max_new_tokens=max(longest[n] for n in chosen),
            eos_token_id=words.end_id,
            pad_token_id=words.pad_id,
            suppress_tokens=rows_of_padding(model, len(words)),
        )[:, width:].tolist()
        for n, tokens in zip(chosen, said, strict=True):
            end = tokens.index(words.end_id) if words.end_id in tokens else len(tokens)
            found[n] = words.decode(tokens[:end])
    return found


def is_closed(row: Row) -> bool:
    """Whether a row's answer has a value that an answer can be held against."""
    return row.get("answer_value") is not None and row.get("answer_type") not in (None, "open")


def wanted(row: Row) -> Any:
    """The value of a closed row's answer."""
    return json.loads(row["answer_value"])
