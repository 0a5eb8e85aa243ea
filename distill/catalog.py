"""Finds a student by what a recipe's `use` says.

encoder                  distill/students/encoder.py
./mine.py:Mine           a file of the user's, relative to the recipe
package.module:Class     anything importable
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path

from distill.student import Student
from limbeck.catalog import module_of
from limbeck.errors import StageNotFound, did_you_mean


def student_class(use: str, folder: Path | None = None) -> type[Student]:
    """The class behind `use`.

    Args:
        use: see above.
        folder: where relative files are looked for; the recipe's folder.

    Raises:
        StageNotFound: nothing of that name, or it isn't a student.
    """
    target, _, wanted = use.partition(":")
    if wanted:
        module = module_of(target, use, folder)
        found = getattr(module, wanted, None)
        known = [name for name, value in vars(module).items() if _is_student(value)]
    else:
        if use not in files():
            raise StageNotFound(f"no student {use!r}", remedy=did_you_mean(use, files()))
        module = importlib.import_module(f"distill.students.{use}")
        named = [c for c in vars(module).values() if _is_student(c) and getattr(c, "name", None) == use]
        found, known = (named[0] if named else None), []
    if found is None:
        raise StageNotFound(
            f"{target} holds no student {wanted or use!r}", where=use, remedy=did_you_mean(wanted, known)
        )
    if not _is_student(found):
        raise StageNotFound(f"{found!r} is not a student", expected="a subclass of distill.student.Student", where=use)
    if not hasattr(found, "__pydantic_fields__"):
        raise StageNotFound(f"{found.__name__} has no settings", expected="the @settings decorator", where=use)
    return found


def available() -> dict[str, type[Student]]:
    """Every student that can be named without a path, sorted by name."""
    return {name: student_class(name) for name in sorted(files())}


def files() -> dict[str, Path]:
    """Files of the built-in students by name, without importing them."""
    spec = importlib.util.find_spec("distill.students")
    places = spec.submodule_search_locations or () if spec else ()
    return {p.stem: p for place in places for p in sorted(Path(place).glob("*.py")) if not p.stem.startswith("_")}


def _is_student(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Student) and value is not Student
