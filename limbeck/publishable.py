"""Whether a build may be handed out, and which of its files are: licences of card and rows, and secrets in texts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from limbeck.built import Build
from limbeck.errors import Problem
from limbeck.published_rows import Published
from limbeck.sources import stated_license

SENT = ("README.md", "recipe.toml", "lock.json", "data/*.parquet", "report/*", "stages/verdicts.parquet")
"""Files of a build that are published, as patterns."""
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Environment variables that hold the Hub's token, the first that is set."""
_NO_LICENSE = ("", "other", "unknown", "none")
_SECRET_CHARS = 8


def reasons_against(built: Build, files: Mapping[str, int]) -> tuple[list[Problem], dict[str, int]]:
    """Every reason against handing a build out; and the licences of what its rows were made from, to rows.

    Args:
        built: the build.
        files: what would be handed out, from `files`.
    """
    problems, licenses = list(_unfinished(built)), {}
    if not problems:
        licenses, problem = _row_licenses(built)
        problems += [problem] if problem else []
    return [*problems, *_secrets(built, files)], licenses


def files(folder: Path) -> dict[str, int]:
    """What is handed out: path in the build, which is the path on the Hub, to bytes."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _matching(folder)}


def _matching(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and any(fnmatch(name, pattern) for pattern in SENT):
            yield path


def _unfinished(built: Build) -> Iterator[Problem]:
    """Why a build can't be published, its rows apart."""
    if not built.finished:
        yield Problem("data", "the build isn't finished", "the same `limbeck run` goes on")
        return
    if not sum(built.splits().values()):
        yield Problem("data", "no row was kept", "laxer thresholds: limbeck refilter")
    front = front_matter(built)
    if not front:
        yield Problem("README.md", "there is no card with a head", "`limbeck run` again writes it")
        return
    license = str(front.get("license") or "")
    if not has_license(license, front.get("license_name")):
        found = f"the card says {license!r} for a licence" if license else "the card has no licence"
        yield Problem(
            "README.md", found, 'state it in the recipe, such as license = "cc-by-4.0" in [dataset]; run again'
        )


def has_license(license: str, name: str | None) -> bool:
    """Whether a dataset states a licence.

    >>> has_license("cc0-1.0", None), has_license("other", None), has_license("other", "ours")
    (True, False, True)
    """
    return license.lower() not in _NO_LICENSE or bool(name)


def _row_licenses(built: Build) -> tuple[dict[str, int], Problem | None]:
    """Licences of the kept rows; and what is wrong where some have none."""
    found: dict[str, int] = {}
    rows = 0
    published = Published(built.path)
    for split in published.splits:
        for path in published.splits[split]:
            count = pq.read_metadata(path).num_rows
            rows += count
            if "license" in published.schema.names:
                for each in pq.read_table(path, columns=["license"])["license"].value_counts().to_pylist():
                    name = (each["values"] or "").strip()
                    found[name] = found.get(name, 0) + each["counts"]
            else:
                found[""] = found.get("", 0) + count
    lacking = found.pop("", 0)
    if lacking and (stated := stated_license(built.recipe.source)):
        found[stated], lacking = found.get(stated, 0) + lacking, 0
    if not lacking:
        return found, None
    remedy = 'a column `license` of the source, or license = "..." in [source] for all its rows; run again'
    return found, Problem("data", f"{lacking:,} of {rows:,} rows have no licence of what they were made from", remedy)


def front_matter(built: Build) -> dict[str, Any]:
    """What the card's head says; nothing where there is none."""
    path = built.path / "README.md"
    return Published(built.path).front_matter() if path.is_file() else {}


def _secrets(built: Build, files: Mapping[str, int]) -> Iterator[Problem]:
    """Secrets of this environment that stand in a file that would be sent."""
    names = {*TOKENS, *(spec.api_key_env for spec in built.recipe.models.values())}
    secrets = {name: os.environ[name] for name in names if len(os.environ.get(name, "")) >= _SECRET_CHARS}
    for path in files if secrets else ():
        if not path.endswith(".parquet"):
            text = (built.path / path).read_bytes()
            for name, secret in sorted(secrets.items()):
                if secret.encode() in text:
                    yield Problem(path, f"holds the value of {name}", "take it out of the recipe, and replace the key")


def notes(built: Build) -> Iterator[str]:
    """What somebody may not have thought of."""
    from limbeck.tally import model_uses

    if unknown := [f"{use.name} ({use.id})" for use in model_uses(built.recipe, built.lock) if not use.license]:
        yield f"the card states no licence for the models {', '.join(unknown)}"
    home, text = str(Path.home()), (built.path / "recipe.toml").read_text(encoding="utf-8")
    if home != "/" and f"{home}/" in text:
        yield f"recipe.toml names folders of this machine, such as {home}"
    if failed := sum(count.failed for count in built.funnel()):
        yield f"{failed:,} rows failed and aren't among them; `limbeck run ... --retry-failed` asks for them again"
