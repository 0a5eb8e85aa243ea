"""The console script `limbeck`: looks that its five packages belong together, then hands over to `flows.cli`.

The four folders beside `limbeck` have everyday names. Somebody else's `filters.py` or `flows/` may come first on the
import path, and would fail in a way that nobody understands; here it is said before anything is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from limbeck.errors import LimbeckError, RequestError

SIBLINGS = ("generators", "filters", "distill", "flows")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the return value is the exit code.

    0 done; 1 the work failed, or more rows failed than the recipe allows; 2 the request was wrong; 130 interrupted.
    A programming error keeps its traceback.

    Args:
        arguments: without the program's name; those of the process by default.
    """
    try:
        check_siblings()
        # By name: the one reference from the core up to the folders that build on it.
        importlib.import_module("flows.cli").app(arguments, prog_name="limbeck")
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        return error.exit_code
    except SystemExit as leaving:
        if leaving.code == 130:
            print("limbeck: interrupted; the same command goes on where this stopped", file=sys.stderr)
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return 0


def check_siblings(home: Path | None = None) -> None:
    """Makes sure that the packages beside `limbeck` are those that Python would import.

    Args:
        home: the folder in which all five have to be; by default the one that holds `limbeck`.

    Raises:
        RequestError: one is missing, or another of its name comes first on the import path; names both paths.
    """
    home = home or Path(__file__).resolve().parent.parent
    for name in SIBLINGS:
        expected = home / name
        found = _place(name)
        if found == expected:
            continue
        where = f"the package {name!r}"
        if found is None:
            raise RequestError("is missing", where=where, expected=str(expected), remedy=_REINSTALL)
        if not expected.is_dir():
            raise RequestError(f"is {found}", where=where, expected=str(expected), remedy=_REINSTALL)
        raise RequestError(
            f"is {found}, which hides limbeck's",
            where=where,
            expected=str(expected),
            remedy=f"rename {found.name!r}, take {found.parent} off PYTHONPATH, or use an environment of limbeck's own",
        )


_REINSTALL = (
    "install limbeck again, in an environment of its own: python -m venv .venv && .venv/bin/pip install limbeck"
)


def _place(name: str) -> Path | None:
    """The folder or file that `import name` would take, without importing it."""
    loaded = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if loaded is None else loaded.__spec__
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return Path(places[0] if places else spec.origin).resolve()
