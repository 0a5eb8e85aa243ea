"""Rows to conversations: what a row's label teaches, and what its teacher's answer does."""

from __future__ import annotations

from distill.student import Item
from distill.vlm.asking import question
from distill.vlm.collating import Conversation
from distill.vlm.parts import Parts
from distill.vlm.top_tokens import ANSWER, TAIL
from distill.vlm.words import Encoded
from limbeck.errors import RequestError
from limbeck.turns import faults, in_order


def conversations(item: Item, parts: Parts, labels: bool, teacher: bool, *, own: bool = True) -> list[Conversation]:
    """One for the label, one for the teacher's answer; one for both, where they are the same. None that is too long.

    Args:
        item: a row and what the teacher says of it.
        parts: the student's.
        labels: whether it learns the row's answers.
        teacher: whether it learns the teacher's likeliest tokens.
        own: whether those are of the teacher's own answer to the first question, not of the row's answers.

    Raises:
        RequestError: the row is damaged, and which it is.
    """
    row, words = item.row, parts.words
    if wrong := faults(row["messages"] or (), len(row["images"] or ())):
        raise RequestError(f"row {row['id']}: {'; '.join(wrong[:3])}", where="column messages")
    messages, images = in_order(row["messages"], row["images"])
    found = []
    if labels:
        found.append(Conversation(row["id"], words.encode(messages), images, labelled=True))
    if teacher and item.target is not None and len(item.target[TAIL]):
        if own:
            asked = question(row)
            prompt, answer = words.prompt(asked.messages), [int(i) for i in item.target[ANSWER]]
            encoded = Encoded([*prompt, *answer], [False] * len(prompt) + [True] * len(answer))
            images = asked.images
        else:
            encoded = found[0].encoded if found else words.encode(messages)
        same = bool(found) and found[0].encoded.ids == encoded.ids
        if same:
            found.pop()
        found.append(Conversation(row["id"], encoded, images, labelled=same, target=item.target))
    return [c for c in found if len(c.encoded) <= parts.most_tokens]
