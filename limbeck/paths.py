"""Where the paths that a recipe names lead."""

from __future__ import annotations

from pathlib import Path


def beside(folder: Path | None, path: str) -> Path:
    """A path that a recipe names: a relative one begins at the recipe's folder, `~` at the user's home.

    Args:
        folder: the recipe's; None, of settings of no recipe, is the working folder.
        path: what is written.

    >>> beside(Path("/data/recipes"), "../builds/pairs").as_posix()
    '/data/recipes/../builds/pairs'
    """
    return (folder or Path.cwd()) / Path(path).expanduser()
