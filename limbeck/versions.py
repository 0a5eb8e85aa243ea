"""Which packages a result was made with, for its lock file."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Package to version, in the order given, of those that are installed.

    >>> list(installed(["numpy", "no-such-package", "pyarrow"]))
    ['numpy', 'pyarrow']
    """
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
