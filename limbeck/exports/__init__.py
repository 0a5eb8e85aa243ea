"""What trainers read: one file a format, found by its name; its docstring's first line says what it is.

A format's module has `write(published, out, **options) -> Exported`: it fills the empty folder `out` from a
`limbeck.published_rows.Published`. Formats of other packages join through the entry point group `limbeck.exports`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from limbeck.errors import RequestError, did_you_mean
from limbeck.published_rows import Published
from limbeck.store import disk_errors, sync_folder

if TYPE_CHECKING:
    from limbeck.built import Build

ENTRY_POINTS = "limbeck.exports"
_Made = TypeVar("_Made")
UNREADABLE = "a picture can't be read"
MARKED = "<image> stands in a text, and would count as a picture"
DISORDERED = "turns don't alternate up to an answer, or a picture isn't shown"
UNANSWERED = "there is no answer to learn"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the folder.
        rows: rows in it.
        next: what to tell the trainer, as it is typed.
        left_out: rows that aren't in it, by why.
    """

    path: Path
    rows: int
    next: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def unusable(self) -> int:
        """How many rows were left out."""
        return sum(self.left_out.values())

    def __str__(self) -> str:
        return str(self.path)

    def __fspath__(self) -> str:
        return str(self.path)


def formats() -> dict[str, str]:
    """Every format with what it is, sorted by name; imports none of other packages'."""
    own = {
        info.name: _about(importlib.import_module(f"{__name__}.{info.name}")) for info in pkgutil.iter_modules(__path__)
    }
    others = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return dict(sorted({**others, **own}.items()))


def export(build: str | Path | Build, format: str, out: str | Path | None = None, **options: Any) -> Exported:
    """Writes a build's kept rows as a trainer reads them.

    Args:
        build: a finished build or its folder.
        format: one of `formats()`.
        out: a new or empty folder; `BUILD/export-FORMAT` by default.
        options: of the format, see its `write`.

    Raises:
        BuildNotFound: no finished build.
        RequestError: no such format or option, a column that the format needs is missing, or `out` isn't empty.
        DiskFull: there is no room; nothing half-written stays.
    """
    folder = Path(build) if isinstance(build, str | Path) else build.path
    write = _writer(format)
    _check_names(format, write, options)
    published = Published(folder)
    out = Path(out) if out is not None else folder / f"export-{format}"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(
            f"{out} is not empty", expected="a new or empty folder", remedy="delete it or name another one"
        )
    aside = out.with_name(f".{out.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with disk_errors(out.parent):
            aside.mkdir(parents=True)
            done = write(published, aside, **options)
            if out.exists():
                out.rmdir()
            aside.rename(out)
            sync_folder(out.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return replace(done, path=out, next=done.next.replace(str(aside), str(out)))


def usable(made: Iterable[_Made | str], left_out: Counter[str]) -> Iterator[_Made]:
    """What was made of rows; a text says why nothing was, and is counted.

    >>> reasons = Counter()
    >>> list(usable([{"id": "a"}, UNREADABLE], reasons)), reasons[UNREADABLE]
    ([{'id': 'a'}], 1)
    """
    for each in made:
        if isinstance(each, str):
            left_out[each] += 1
        else:
            yield each


def options(format: str, sets: Sequence[str]) -> dict[str, Any]:
    """Reads a format's options as they are typed, each as what the format's `write` says it takes.

    >>> options("trl", ["turns=last"])
    {'turns': 'last'}

    Args:
        format: one of `formats()`.
        sets: `NAME=VALUE`; of two with one name the last counts.

    Raises:
        RequestError: no such format or option, no `=`, or a value that the option doesn't take.
    """
    write = _writer(format)
    pairs = [text.partition("=") for text in sets]
    for text, (_, equals, _) in zip(sets, pairs, strict=True):
        if not equals:
            raise RequestError(f"--set {text}", expected="NAME=VALUE, such as turns=last")
    given = {name.strip(): value.strip() for name, _, value in pairs}
    _check_names(format, write, given)
    return {name: _read(write, name, value) for name, value in given.items()}


def _read(write: Callable[..., Exported], name: str, text: str) -> Any:
    try:
        return TypeAdapter(get_type_hints(write)[name]).validate_strings(text)
    except (KeyError, NameError, TypeError, PydanticUserError):  # another package's, which doesn't say what it takes
        return text
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise RequestError(f"{text!r}", expected=said.removeprefix("Input should be "), where=f"--set {name}") from None


def _check_names(format: str, write: Callable[..., Exported], given: Mapping[str, Any]) -> None:
    known = [*inspect.signature(write).parameters][2:]
    for name in given:
        if name not in known:
            raise RequestError(f"the format {format!r} has no option {name!r}", remedy=did_you_mean(name, known))


def _writer(format: str) -> Callable[..., Exported]:
    if format in {info.name for info in pkgutil.iter_modules(__path__)}:
        return importlib.import_module(f"{__name__}.{format}").write
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == format:
            found = point.load()
            return getattr(found, "write", found)
    raise RequestError(f"no format {format!r}", remedy=did_you_mean(format, formats()))


def _about(module: Any) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]
