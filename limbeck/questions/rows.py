"""From an ask to a canonical row: words, pictures in their place, and everything by which the answer can be checked."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from limbeck.errors import SettingError, did_you_mean
from limbeck.questions.ask import Ask
from limbeck.questions.program import Value
from limbeck.questions.view import View
from limbeck.questions.wording import Form, word
from limbeck.stage import Row
from limbeck.turns import assistant, user

NTH = {"en": ("First picture:", "Second picture:"), "ko": ("첫 번째 그림:", "두 번째 그림:")}
BESIDE_TEXT, PICTURE_FIRST = 0.5, 0.75
"""Two pictures are each announced in half of the questions; else pictures come before the text in half of the rest."""


def question_row(
    ask: Ask,
    value: Value,
    views: Sequence[View],
    images: Sequence[bytes],
    language: str,
    form: Form,
    rng: random.Random,
    picture_first: float = PICTURE_FIRST,
) -> Row:
    """The columns of one question, without an id.

    Args:
        ask: what is asked.
        value: its answer.
        views: the pictures it is about, in order.
        images: the same encoded; none to leave the pictures out.
        language: `en` or `ko`.
        form: how it is to be answered.
        rng: wording and where the pictures stand.
        picture_first: share of questions that come after their pictures.
    """
    layout = rng.random()
    worded = word(ask, value, views, language, form, rng)
    shown: list[int] = list(range(len(images)))
    parts: list[str | int] = [*shown, worded.question] if layout < picture_first else [worded.question, *shown]
    if len(shown) == 2 and layout < BESIDE_TEXT:
        first, second = NTH[language]
        parts = [first, 0, second, 1, worded.question]
    box = ask.slots.get("box") or (value if worded.category == "box" else None)
    return {
        "messages": [user(*parts), assistant(worded.answer)],
        "images": list(images),
        "question_type": ask.type,
        "template": ask.template,
        "language": language,
        "answer_type": worded.answer_type,
        "answer_value": json.dumps(value),
        "program": json.dumps(ask.program, separators=(",", ":")),
        "options": list(worded.options),
        "scenes": [view.json for view in views if view.json],
        "boxes": [{"image": 0, "name": ask.slots.get("kind", ""), "box": box}] if box else [],
        "image_hashes": [blake2b(image, digest_size=16).hexdigest() for image in images],
    }


def draw(rng: random.Random, shares: Mapping[Any, float]) -> Any:
    """One of the keys, each as likely as its share."""
    return rng.choices(list(shares), list(shares.values()))[0]


def check_shares(
    name: str, shares: dict[str, float], known: Sequence[str], *, may_be_empty: bool = False
) -> dict[str, float]:
    """The shares, if every key is known and they can be drawn from.

    Args:
        name: of the setting.
        shares: what it holds.
        known: keys that it may have.
        may_be_empty: whether no shares at all mean something.

    Raises:
        SettingError: they can't.
    """
    if not shares and not may_be_empty:
        raise SettingError(
            f"{name} = {{}} leaves nothing to draw",
            expected=f"a share of one or more of {', '.join(known)}",
            remedy="leave the setting out for its default",
        )
    if unknown := shares.keys() - set(known):
        raise SettingError(f"{name} {min(unknown)!r}", expected=did_you_mean(min(unknown), known))
    if any(share < 0 for share in shares.values()) or (shares and not sum(shares.values()) > 0):
        raise SettingError(f"shares {shares}", expected="numbers from 0, not all of them 0")
    return shares
