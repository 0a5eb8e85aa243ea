"""Conversations of canonical rows: ordered typed blocks, which may be text or one of the row's pictures.

    [{"role": "user", "content": [{"type": "image", "text": None, "image": 0},
                                  {"type": "text", "text": "What is this?", "image": None}]},
     {"role": "assistant", "content": [{"type": "text", "text": "A house.", "image": None}]}]

Every block has all three keys, so that a row is the same before and after Arrow, which fills absent keys with nulls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Block = dict[str, Any]
Message = dict[str, Any]


def block(part: str | int) -> Block:
    """A block of text, or of the picture with that number.

    >>> block(0)
    {'type': 'image', 'text': None, 'image': 0}
    """
    if isinstance(part, str):
        return {"type": "text", "text": part, "image": None}
    return {"type": "image", "text": None, "image": part}


def user(*parts: str | int) -> Message:
    """A turn of the user, of texts and numbers of pictures."""
    return {"role": "user", "content": [block(part) for part in parts]}


def assistant(text: str) -> Message:
    """A turn of the assistant."""
    return {"role": "assistant", "content": [block(text)]}


def text_of(message: Message) -> str:
    """The texts of a turn, pictures left out.

    >>> text_of(user(0, "What", "is this?"))
    'What is this?'
    """
    return " ".join(part["text"] for part in message["content"] if part["type"] == "text" and part["text"])


def answers(messages: Sequence[Message]) -> list[str]:
    """What the assistant says, turn by turn."""
    return [text_of(message) for message in messages if message["role"] == "assistant"]


def pictures_of(messages: Iterable[Message]) -> list[int]:
    """Numbers of the pictures in the order in which the conversation shows them."""
    return [part["image"] for message in messages for part in message["content"] if part["type"] == "image"]


def marked_text(message: Message, placeholder: str = "<image>") -> str:
    """A turn as one text with a placeholder where each picture stands, one part a line.

    >>> marked_text(user("Before:", 0, "After:", 1))
    'Before:\\n<image>\\nAfter:\\n<image>'
    """
    return "\n".join(placeholder if part["type"] == "image" else part["text"] or "" for part in message["content"])


def from_marked_text(role: str, text: str, first: int, placeholder: str = "<image>") -> Message:
    """The inverse of `marked_text`, where no text begins or ends with a line break and no two texts are neighbours.

    Args:
        role: of the turn.
        text: with placeholders.
        first: number of the first picture in it; the next have the following numbers.
        placeholder: what stands for a picture.
    """
    content: list[Block] = []
    for i, piece in enumerate(text.split(placeholder)):
        if i:
            content.append(block(first + i - 1))
        piece = piece.removeprefix("\n") if i else piece
        piece = piece.removesuffix("\n") if i < text.count(placeholder) else piece
        if piece or (not content and not text):
            content.append(block(piece))
    return {"role": role, "content": content}


def in_order(messages: Sequence[Message], images: Sequence[bytes]) -> tuple[list[Message], list[bytes]]:
    """The conversation with its pictures numbered as they appear, and the pictures in that order, shown twice or once.

    Nulls that Arrow puts into absent lists are gone afterwards.
    """
    shown: list[bytes] = []
    out: list[Message] = []
    for message in messages or ():
        content = []
        for part in message["content"] or ():
            if part["type"] == "image":
                shown.append(images[part["image"]])
                content.append(block(len(shown) - 1))
            else:
                content.append(block(part["text"] or ""))
        out.append({"role": message["role"], "content": content})
    return out, shown


def faults(messages: Sequence[Message], pictures: int) -> list[str]:
    """What is wrong with a conversation; nothing for a good one.

    >>> faults([user(0, "What?"), assistant("A house.")], 1)
    []
    >>> faults([user(1, "What?")], 1)
    ['picture 1 of 1', 'it does not end with the assistant', 'picture 0 is not shown']

    Args:
        messages: the conversation.
        pictures: how many the row has.
    """
    found = []
    for turn, message in enumerate(messages):
        expected = "user" if turn % 2 == 0 else "assistant"
        if message["role"] != expected:
            found.append(f"turn {turn} is of {message['role']!r}; expected {expected}")
        for part in message["content"]:
            if part["type"] == "image" and not 0 <= part["image"] < pictures:
                found.append(f"picture {part['image']} of {pictures}")
            elif part["type"] not in ("image", "text"):
                found.append(f"a block of type {part['type']!r}")
    if not messages or messages[-1]["role"] != "assistant":
        found.append("it does not end with the assistant")
    shown = pictures_of(messages)
    return found + [f"picture {i} is not shown" for i in range(pictures) if i not in shown]
