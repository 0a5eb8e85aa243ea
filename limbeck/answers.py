"""What a chat model wrote, read with suspicion: one JSON object out of its text, and texts that can't be meant.

Nothing here trusts structured output: a server that promises a schema may still cut an answer, wrap it in a fence,
think aloud first or refuse.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Any

from limbeck.declined import declines

_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_REFUSAL = re.compile(
    r"(i['’]?m sorry|i am sorry|sorry,|i apologi[sz]e|i can(no|['’])t (help|assist|create|do|provide|comply)"
    r"|i['’]?m (not able|unable)|i am (not able|unable)|as an ai\b"
    r"|죄송[합하해]|미안(합|하지|해))",
    re.IGNORECASE,
)
_HALVES = re.compile("[\ud800-\udfff]")
_JUNK = re.compile(
    r"</?[a-zA-Z!][^<>]*>"  # HTML or XML tags
    r"|&(?:[a-zA-Z]{2,8}|#x?[0-9a-fA-F]{1,6});"  # their entities
    r"|\\(?:[nrt\"/\\]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})"  # escapes that were escaped once too often
    r"|\$[a-zA-Z_]\w*|\{\w*\}|\[(?:INST|/INST|caption|edit|output)\]|<\|"  # placeholders and chat markup
    r"|```|https?://"
    r"|[\x00-\x08\x0b-\x1f\x7f\ufffd\ud800-\udfff]"
)


def read_object(text: str) -> dict[str, Any]:
    """The first JSON object in an answer; thoughts, fences and talk around it are passed over.

    Halves of surrogate pairs, which fit into no file, become U+FFFD.

    >>> read_object('Sure! ```json\\n{"edit": "add a hat"}\\n```')
    {'edit': 'add a hat'}

    Raises:
        ValueError: there is none, or it is broken; the message says where, in words fit to send back to the model.
    """
    if text[:1] != "{":
        text = _THOUGHT.sub("", text)
        start = text.find("{")
        if start < 0:
            raise ValueError("no JSON object in the answer")
        text = text[start:]
    try:
        found = json.JSONDecoder(strict=False).raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise ValueError(f"the JSON is broken at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    return _whole(found) if "\\u" in text else found


def _whole(value: Any) -> Any:
    """The same JSON without halves of surrogate pairs; `strict=False` and escapes let them by.

    >>> _whole({"a": ["b\\ud83d"]})
    {'a': ['b\ufffd']}
    """
    if isinstance(value, str):
        return _HALVES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def is_refusal(text: str) -> bool:
    """Whether an answer as it came, whatever is in it, opens by declining; see `declines` for what it holds.

    >>> is_refusal("I'm sorry, but I can't help with that."), is_refusal("make the sorry dog happy")
    (True, False)
    """
    return _REFUSAL.match(text.lstrip(" \"'{")) is not None or declines(text)


def junk(text: str, known: str = "") -> str | None:
    """The first piece of markup, escape, placeholder or control character that `known` doesn't have too.

    >>> junk("make the <b>cat</b> blue")
    '<b>'
    >>> junk("a <b>dog</b>", known="a <b>cat</b>") is None
    True
    """
    return next((m[0] for m in _JUNK.finditer(text) if m[0] not in known), None)


@lru_cache(maxsize=4096)
def _script_of(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split()[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA") else name


def script(text: str) -> str | None:
    """The script most letters are in, by its Unicode name; Chinese and Japanese count as one. None without letters.

    >>> script("a red tree"), script("빨간 나무"), script("42")
    ('LATIN', 'HANGUL', None)
    """
    letters = Counter(_script_of(c) for c in text if c.isalpha()) if not text.isascii() else text
    if isinstance(letters, str):
        return "LATIN" if any(c.isalpha() for c in letters) else None
    return letters.most_common(1)[0][0] if letters else None


def fold(text: str) -> str:
    """A text as comparisons see it: one line, lower case, no end punctuation.

    Source: InstructPix2Pix compares captions so before it accepts a reply.

    >>> fold("  A red\\nHouse. ")
    'a red house'
    """
    return " ".join(text.casefold().split()).rstrip(" .!?…。")
