"""Prompt templates: plain text with role headings and `$names`, turned into chat messages.

    [system]
    You write image edits.
    [user]
    Caption: $caption

A template is a setting of the stage that uses it, so its text enters the stage's key. Values are put in once and
never read again: a caption full of `$` or `[user]` stays a caption.

`SHORT_EDIT` is what miniatures are trained on: no system message, no examples, about ten tokens and the caption.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from string import Template
from typing import TYPE_CHECKING, Any

from limbeck.errors import SettingError
from limbeck.stage import beside_recipe

if TYPE_CHECKING:
    from pydantic import ValidationInfo

Messages = list[dict[str, Any]]

SHORT_EDIT = "[user]\nedit: $edit_type\ncaption: $caption"
_HEADING = re.compile(r"^\[(system|user|assistant)\][ \t]*$", re.MULTILINE)


def template_in(setting: str, info: ValidationInfo) -> str:
    """The template of a setting that is one, or names a .txt file that holds one; see `limbeck.stage.beside_recipe`.

    Raises:
        SettingError: the file can't be read.
    """
    if not setting.endswith(".txt") or "\n" in setting:
        return setting
    file = beside_recipe(setting, info)
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"can't read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingError(f"can't read {file}: {error}", expected="text in UTF-8") from error


@lru_cache(maxsize=64)
def parse(template: str) -> tuple[tuple[str, Template], ...]:
    """The (role, text) turns of a template; text without any heading is one user message.

    Raises:
        SettingError: there is text before the first heading, or a `$` that starts no name.
    """
    before, *turns = _HEADING.split(template)
    if not turns:
        turns = ["user", before]
    elif before.strip():
        raise SettingError(
            f"text before the first heading: {before.strip()[:60]!r}",
            expected="[system], [user] or [assistant] first",
            where="prompt template",
        )
    parsed = tuple((role, Template(text.strip())) for role, text in zip(turns[::2], turns[1::2], strict=True))
    for _, text in parsed:
        if not text.is_valid():
            raise SettingError("a lone `$`", expected="`$name`, or `$$` for the sign", where="prompt template")
    return parsed


def names(template: str) -> set[str]:
    """The `$names` a template asks for.

    >>> sorted(names("[user]\\nedit: $edit_type\\ncaption: $caption"))
    ['caption', 'edit_type']
    """
    return {name for _, text in parse(template) for name in text.get_identifiers()}


def messages(template: str, **values: str) -> Messages:
    """Fills a template.

    >>> messages(SHORT_EDIT, edit_type="recolour", caption="a red house")
    [{'role': 'user', 'content': 'edit: recolour\\ncaption: a red house'}]

    Raises:
        SettingError: the template asks for a name that is not among `values`.
    """
    try:
        return [{"role": role, "content": text.substitute(values)} for role, text in parse(template)]
    except KeyError as missing:
        raise SettingError(
            f"unknown `${missing.args[0]}`", expected=", ".join(sorted(values)), where="prompt template"
        ) from None


def edit_answer(edit: str, output: str) -> str:
    """The answer expected to an edit prompt, and the text a miniature is trained to write.

    >>> edit_answer("make the house blue", "a blue house")
    '{"edit": "make the house blue", "output": "a blue house"}'
    """
    return json.dumps({"edit": edit, "output": output}, ensure_ascii=False)
