"""The dataset card, OUT/README.md: every figure in it is computed from the build, none is written by hand.

`write_card(build)` is the whole of it; `card(summary)` makes the text from plain values. The template is
`limbeck/templates/card.md.j2`; a recipe's own words enter as `dataset.description`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import tomli_w
import yaml

from limbeck.card_words import ABOUT, ABOUT_SCORES, limits, synthetic, words_of
from limbeck.report.truth import Truth, read
from limbeck.summary import NOT_STATED, Summary, Threshold, share, size_category

if TYPE_CHECKING:
    from limbeck.built import Build

TEMPLATES = Path(__file__).resolve().parent / "templates"
PICTURES = "EditPair"
"""The record whose rows have pictures before and after."""


def write_card(build: Build) -> Path:
    """Writes OUT/README.md and returns its path.

    Raises:
        DiskFull: there is no room; an older card stays.
    """
    from limbeck.store import disk_errors, write_file
    from limbeck.tally import tally

    path = build.path / "README.md"
    text = card(tally(build), read(build.path / "report" / "truth.json"), source_pictures=_has_pictures(build))
    with disk_errors(build.path):
        write_file(path, text.encode())
    return path


def card(summary: Summary, truth: Truth | None = None, *, source_pictures: bool = False) -> str:
    """The card's Markdown.

    Args:
        summary: the build's numbers.
        truth: edit success, where it was measured.
        source_pictures: whether the pictures, or those before the edit, came with the source.
    """
    return (
        _environment()
        .get_template("card.md.j2")
        .render(
            s=summary,
            truth=truth,
            pairs=summary.record == PICTURES,
            words=words_of(summary.record),
            synthetic=synthetic(summary, source_pictures=source_pictures),
            front=front_matter(summary),
            trainer_flags=trainer_flags(summary.name),
            first_split=next(iter(summary.splits), "train"),
            about=lambda name: _about(name),
            unstated=not summary.licenses
            or NOT_STATED in summary.licenses
            or any(not model.license for model in summary.models),
            limits=list(limits(summary, truth)),
        )
    )


def front_matter(summary: Summary) -> str:
    """The YAML that the Hub reads: licence, tasks, size, and which files are which split."""
    words = words_of(summary.record)
    files = [{"split": name, "path": f"data/{name}-*"} for name in summary.splits] or [
        {"split": "train", "path": "data/train-*"}
    ]
    front: dict[str, Any] = {
        "pretty_name": " ".join(summary.title.split()),
        "license": summary.license,
        **{key: getattr(summary, key) for key in ("license_name", "license_link") if getattr(summary, key)},
        "language": list(summary.languages),
        "task_categories": list(words.tasks),
        "size_categories": [size_category(summary.kept)],
        "tags": list(dict.fromkeys(["synthetic", "limbeck", *words.tags, *summary.tags])),
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)


def trainer_flags(dataset: str, original: str = "original_image", edited: str = "edited_image") -> str:
    """What to tell diffusers' examples/instruct_pix2pix/train_instruct_pix2pix.py."""
    return (
        f"--dataset_name {dataset} --original_image_column {original} "
        f"--edit_prompt_column edit_prompt --edited_image_column {edited}"
    )


def _kind(kind: str) -> str:
    """A column's type in a word or two.

    >>> _kind("float"), _kind("list<item: struct<x: float>>"), _kind("list<item: string>")
    ('float32', 'list of structs', 'list of strings')
    """
    if inner := re.match(r"(?:large_)?list<\w+: (.*)>$", kind):
        return f"list of {_kind(inner[1])}s"
    return "struct" if kind.startswith("struct<") else {"float": "float32", "double": "float64"}.get(kind, kind)


def _about(name: str) -> str:
    if name in ABOUT:
        return ABOUT[name]
    stage, dot, column = name.rpartition(".")
    return f"{ABOUT_SCORES.get(column, column.replace('_', ' '))}, by the stage {stage}" if dot else ""


def _has_pictures(build: Build) -> bool:
    return any(build.outcome.levels[0].frame.field(name) is not None for name in ("image", "original_image"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # Markdown, not HTML: cells and lines are escaped by their own filters
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "percent": lambda x: share(round(1e6 * x), 1_000_000),
        "cell": _cell,
        "line": _line,
        "toml": _toml,
        "kind": _kind,
    }
    environment.globals |= {"share": share, "overrides": _overrides, "mostly": _mostly}
    return environment


def _line(text: Any) -> str:
    """Text on one line in which no HTML or heading begins.

    >>> _line("a\\n# b <img>")
    'a # b &lt;img&gt;'
    """
    return re.sub(r"\s+", " ", str(text)).replace("<", "&lt;").replace(">", "&gt;").strip()


def _cell(text: Any) -> str:
    """Text in a cell of a table.

    >>> _cell("a | b")
    'a \\\\| b'
    """
    return _line(text).replace("|", "\\|")


def _toml(value: Any) -> str:
    """A setting as a recipe writes it.

    >>> _toml(0.2), _toml({"a": 1}), _toml(True)
    ('0.2', '{ a = 1 }', 'true')
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    return tomli_w.dumps({"v": value}).removeprefix("v = ").strip() if value is not None else "none"


def _overrides(threshold: Threshold) -> str:
    return ", ".join(f"{value}: {_toml(setting)}" for _, value, setting in threshold.overrides)


def _mostly(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} ({n:,})" for reason, n in list(reasons.items())[:2])
