"""Finds a stage by what a recipe's `use` says.

edit_pairs               generators/edit_pairs.py or filters/edit_pairs.py, else an entry point of that name
./brand.py:LogoIntact    a file of the user's, relative to the recipe
package.module:Class     anything importable
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from limbeck.errors import StageNotFound, did_you_mean
from limbeck.paths import beside
from limbeck.stage import Filter, Generator, Stage

FOLDERS = ("generators", "filters")
ENTRY_POINTS = "limbeck.stages"


def stage_class(use: str, folder: Path | None = None) -> type[Stage]:
    """The class behind `use`.

    Args:
        use: see above.
        folder: where relative files are looked for; the recipe's folder.

    Raises:
        StageNotFound: nothing of that name, or it isn't a stage.
    """
    target, _, wanted = use.partition(":")
    if not wanted:
        return _by_name(use)
    module = module_of(target, use, folder)
    found = getattr(module, wanted, None)
    if found is None:
        known = [n for n, c in vars(module).items() if _is_stage(c)]
        raise StageNotFound(f"{target} has no {wanted!r}", where=use, remedy=did_you_mean(wanted, known))
    return _checked(found, use)


def available() -> dict[str, type[Stage]]:
    """Every stage that can be named without a path, sorted by name.

    Raises:
        StageNotFound: a file in generators/ or filters/ doesn't import, or holds no stage of its own name.
    """
    return {name: _by_name(name) for name in sorted(_names())}


def files() -> dict[str, Path]:
    """Files of the built-in stages by name, without importing them."""
    found: dict[str, Path] = {}
    for package in FOLDERS:
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found.update((p.stem, p) for p in sorted(Path(place).glob("*.py")) if not p.stem.startswith("_"))
    return found


def _names() -> set[str]:
    return {*files(), *(point.name for point in entry_points(group=ENTRY_POINTS))}


def _by_name(name: str) -> type[Stage]:
    file = files().get(name)
    if file is not None:
        module = importlib.import_module(f"{file.parent.name}.{name}")
        named = [c for c in vars(module).values() if _is_stage(c) and getattr(c, "name", None) == name]
        if not named:
            raise StageNotFound(f"{file} holds no stage whose name is {name!r}", where=name)
        return _checked(named[0], name)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == name:
            return _checked(point.load(), name)
    raise StageNotFound(f"no stage {name!r}", remedy=did_you_mean(name, _names()))


def module_of(target: str, use: str, folder: Path | None = None) -> ModuleType:
    """The module of a file (`./brand.py`) or of an importable name.

    Raises:
        StageNotFound: there is none.
    """
    return _from_file(target, folder) if target.endswith(".py") else _import(target, use)


def _from_file(target: str, folder: Path | None) -> ModuleType:
    file = beside(folder, target).resolve()
    if not file.is_file():
        raise StageNotFound(f"there is no file {file}", where=target)
    digest = hashlib.blake2b(str(file).encode(), digest_size=4).hexdigest()
    name = f"limbeck_stage_{file.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pydantic looks annotations up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import(target: str, use: str) -> ModuleType:
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name and target.startswith(error.name):
            raise StageNotFound(f"there is no module {target!r}", where=use) from None
        raise


def _is_stage(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Stage) and value not in (Stage, Generator, Filter)


def _checked(found: object, use: str) -> type[Stage]:
    if not _is_stage(found):
        raise StageNotFound(f"{found!r} is not a stage", expected="a subclass of Generator or Filter", where=use)
    if not hasattr(found, "__pydantic_fields__"):
        raise StageNotFound(f"{found.__name__} has no settings", expected="the @settings decorator", where=use)
    return found
