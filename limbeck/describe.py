"""What a person wants to know of a stage before using it, read off its class: settings, defaults, docs."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

from limbeck.stage import Filter, Stage, decision_form, decision_settings, model_settings


@dataclass(frozen=True)
class Setting:
    """One setting of a stage.

    Attributes:
        name: the key in the recipe.
        type: its type and bounds, in words.
        default: as TOML would have it; None where it has to be given.
        doc: one or more sentences.
        role: of the model that it names, or None.
        decides: whether changing it recomputes nothing.
    """

    name: str
    type: str
    default: str | None
    doc: str
    role: str | None
    decides: bool


@dataclass(frozen=True)
class Description:
    """One stage: `summary` is the first sentence of its docstring, `doc` all of it but the settings."""

    name: str
    kind: Literal["generator", "filter"]
    summary: str
    doc: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    reasons: tuple[str, ...]
    decides_by: str | None
    settings: tuple[Setting, ...]


def describe(cls: type[Stage]) -> Description:
    """Describes a stage class. Columns that depend on settings are those of the defaults, where there are defaults."""
    prose, _ = _split(inspect.getdoc(cls) or "")
    roles, decisions = model_settings(cls), decision_settings(cls)
    settings = tuple(
        replace(setting, role=roles.get(setting.name), decides=setting.name.partition(".")[0] in decisions)
        for setting in _settings(cls)
    )
    return Description(
        name=cls.name,
        kind="filter" if issubclass(cls, Filter) else "generator",
        summary=prose.partition("\n\n")[0].replace("\n", " "),
        doc=prose,
        reads=_columns(cls, "reads"),
        writes=_columns(cls, "writes"),
        reasons=tuple(cls.reasons),
        decides_by=decision_form(cls) if issubclass(cls, Filter) else None,  # type: ignore[arg-type]
        settings=settings,
    )


def describe_settings(cls: type) -> tuple[str, tuple[Setting, ...]]:
    """The docstring of any class with settings, and those; models that they name, with their roles."""
    prose, _ = _split(inspect.getdoc(cls) or "")
    roles = model_settings(cls)
    return prose, tuple(replace(setting, role=roles.get(setting.name)) for setting in _settings(cls))


def _settings(cls: type, prefix: str = "") -> Iterator[Setting]:
    """The fields of a class; below one that holds a table, the table's own as `name.key`."""
    documented: dict[str, str] = {}
    for each in reversed([c for c in cls.__mro__ if c is not object]):  # a stage inherits settings with their words
        documented |= _split(inspect.cleandoc(each.__doc__ or ""))[1] | _attribute_docstrings(each)
    for name, info in cls.__pydantic_fields__.items():  # type: ignore[attr-defined]
        default = None if info.is_required() else _shown(info.get_default(call_default_factory=True))
        kind = _type(info.annotation, info.metadata)
        yield Setting(prefix + name, kind, default, documented.get(name, ""), role=None, decides=False)
        for inner in (info.annotation, *get_args(info.annotation)):
            if hasattr(inner, "__pydantic_fields__"):
                yield from _settings(inner, f"{prefix}{name}.")


def _columns(cls: type[Stage], which: str) -> tuple[str, ...]:
    value = inspect.getattr_static(cls, which)
    if isinstance(value, property):
        fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
        # A name is enough for the settings without default: they are names of models.
        value = getattr(cls(**{name: name for name, info in fields.items() if info.is_required()}), which)
    return tuple(field.name for field in value)


def _split(doc: str) -> tuple[str, dict[str, str]]:
    """A Google-style docstring without its `Attributes:`, and those by name.

    >>> _split("Drops all.\\n\\nAttributes:\\n    a: first,\\n        still first.\\n    b: second.\\n\\nSource: none.")
    ('Drops all.\\n\\nSource: none.', {'a': 'first, still first.', 'b': 'second.'})
    """
    found = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)*)", doc, re.MULTILINE)
    if not found:
        return doc.strip(), {}
    entries: dict[str, str] = {}
    for line in textwrap.dedent(found[1]).splitlines():
        head = re.match(r"(\w+): (.*)", line)
        if head:
            entries[head[1]] = head[2]
        elif line.strip() and entries:
            entries[next(reversed(entries))] += " " + line.strip()
    rest = (doc[: found.start()].strip(), doc[found.end() :].strip())
    return "\n\n".join(part for part in rest if part), entries


@cache
def _attribute_docstrings(cls: type) -> dict[str, str]:
    """Strings that stand below a field, by the field's name."""
    try:
        (body,) = _parsed(cls).body
    except (OSError, TypeError, SyntaxError):
        return {}
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = " ".join(inspect.cleandoc(text.value.value).split())
    return found


def _parsed(cls: type) -> ast.Module:
    """The syntax tree of a class.

    CPython 3.11 counts recursion in one place for all parsers: when the garbage collector, in the middle of a parse,
    ends an object that prints a traceback (which parses too), the count is off and it raises a `SystemError`.
    """
    for _ in range(3):
        try:
            return ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except SystemError:
            continue
    raise OSError(f"the source of {cls.__qualname__} can't be parsed")


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words, with its bounds.

    >>> from annotated_types import Ge, Le
    >>> _type(float, [Ge(0), Le(1)]), _type(int | None), _type(Literal["paper", "script"])
    ('number, 0 to 1', 'integer or none', '"paper" or "script"')
    """
    bounds = {}
    for mark in metadata:
        bounds |= {name: getattr(mark, name) for name in ("ge", "gt", "le", "lt") if hasattr(mark, name)}
    words = _words(annotation)
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    if low is not None and high is not None:
        return f"{words}, {low:g} to {high:g}"
    if low is not None:
        return f"{words}, {'above' if 'gt' in bounds else 'from'} {low:g}"
    return f"{words}, {'below' if 'lt' in bounds else 'up to'} {high:g}" if high is not None else words


_FEW = 4
_WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "none", Any: "anything"}


def _words(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(_shown(value) for value in inner)
    if hasattr(annotation, "__metadata__"):
        return _type(inner[0], inner[1:])
    if origin in (list, tuple):
        kinds = [_words(kind) for kind in inner if kind is not Ellipsis]
        return f"list of {kinds[0]}" if len(kinds) != 2 else f"[{', '.join(kinds)}]"
    if origin is dict:
        return f"table of {_words(inner[1])}"
    if hasattr(annotation, "__pydantic_fields__"):
        return "table"
    if inner:  # a union
        return " or ".join(_words(kind) for kind in inner)
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _shown(value: Any) -> str:
    """A value as TOML writes it; long text in short.

    >>> _shown((0.1, 0.9)), _shown(None), _shown(True)
    ('[0.1, 0.9]', 'none', 'true')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + (value if len(value) <= 40 and "\n" not in value else value.split("\n")[0][:30] + " ...") + '"'
    if hasattr(value, "__pydantic_fields__"):
        return "{ ... }"
    if isinstance(value, list | tuple):
        more = f", ... {len(value)} in all" if len(value) > _FEW else ""
        return "[" + ", ".join(_shown(item) for item in value[:_FEW]) + more + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_shown(item)}" for key, item in value.items()) + " }" if value else "{}"
    return f"{value:g}" if isinstance(value, float) else str(value)
