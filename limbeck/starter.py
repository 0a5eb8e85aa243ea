"""The recipe that `limbeck init` writes: it runs as it stands, and says in comments what else could stand there."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from limbeck.errors import RequestError


def starter_recipe(name: str = "my-edits") -> str:
    """The starter's text.

    Args:
        name: of the dataset.
    """
    text = (files("limbeck") / "templates" / "recipe.toml").read_text(encoding="utf-8")
    return text.replace("my-edits", name)


def write_starter(path: Path, *, force: bool = False) -> Path:
    """Writes the starter recipe; the dataset is called as the file is.

    Args:
        path: of the new file.
        force: writes over a file that is there.

    Raises:
        RequestError: the file is there already, or can't be written.
    """
    name = (
        "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem).strip("-.") or "my-edits"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(starter_recipe(name))
    except FileExistsError:
        raise RequestError("is there already", where=str(path), remedy="choose another name, or --force") from None
    except OSError as error:
        raise RequestError(f"can't be written: {error.strerror}", where=str(path)) from error
    return path
