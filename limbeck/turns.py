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
