"""Checks a recipe's models through the code that builds use: for whoever has the weights.

    for found in verify("recipes/sd15-edits.toml"):
        print(found.passed, found.line())

Each role has a handful of checks whose answers are known without knowing the weights; see `limbeck.models.checks_*`.
"""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck import __version__, models
from limbeck.errors import LimbeckError
from limbeck.models.declared import declared
from limbeck.models.spec import ModelSpec
from limbeck.recipe import Recipe, load
from limbeck.stage import models_of

_CHECKS = {"chat": "checks_chat", "image": "checks_image", "score": "checks_score", "detect": "checks_regions",
           "segment": "checks_regions"}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        passed: whether it is as it has to be.
        found: the figure.
        expected: what it has to be.
    """

    name: str
    passed: bool
    found: str
    expected: str


@dataclass(frozen=True)
class Verified:
    """A model's checks.

    Attributes:
        name: in the recipe.
        id: folder, Hub id, or the endpoint's name of it.
        role: what the recipe's stages ask of it.
        weights: fingerprint: which weights exactly.
        architecture: its class, where its files say so.
        how: number format and device.
        checks: in the order in which they were made.
        seconds: that loading and checking took.
    """

    name: str
    id: str
    role: str
    weights: str
    architecture: str = ""
    how: str = ""
    checks: tuple[Check, ...] = field(default=())
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every check did."""
        return all(check.passed for check in self.checks)

    def line(self) -> str:
        """The row of README's table "Real models"."""
        good = sum(check.passed for check in self.checks)
        kind = f" ({self.architecture})" if self.architecture else ""
        what = "miniature" if self.id.startswith("mini:") else "endpoint" if " at " in self.id else "real weights"
        verified = f"{what}, {good} of {len(self.checks)} checks{f', {self.how}' if self.how else ''}"
        cells = (f"{self.id}{kind}", self.role, f"{verified}, limbeck {__version__}, {datetime.now(UTC):%Y-%m-%d}")
        return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def verify(
    recipe: str | Path | Recipe, *, sets: Sequence[str] = (), note: Callable[[str], None] | None = None
) -> list[Verified]:
    """Loads each model that the recipe's stages use, one after the other, and checks it.

    Args:
        recipe: a TOML file or a checked recipe.
        sets: overrides such as `models.painter.dtype=bfloat16`.
        note: is told what is being done.

    Returns:
        One for each model and role. A model that doesn't load has one check, which says why.

    Raises:
        RecipeError: the recipe is wrong.
    """
    recipe = load(recipe, sets=sets)
    used = dict.fromkeys(pair for table in recipe.stages for pair in models_of(table.stage).values())
    return [_verified(recipe, name, role, note or (lambda line: None)) for name, role in used]


def _verified(recipe: Recipe, name: str, role: Any, note: Callable[[str], None]) -> Verified:
    spec, start = recipe.models[name], time.perf_counter()
    facts = {
        "name": name,
        "id": f"{spec.model} at {spec.base_url}" if spec.is_endpoint else spec.id,
        "role": role,
        "weights": models.fingerprint(spec, recipe.folder),
    }
    note(f"{name}: loading {facts['id']}")
    checks: list[Check] = []
    try:
        if not spec.is_endpoint:
            checks.append(_safetensors(spec, recipe.folder, name))
        backend = models.load(spec, role, recipe.folder, name=name)
        note(f"{name}: checking it as {role}")
        how, found = importlib.import_module(f"limbeck.models.{_CHECKS[role]}").checks(backend, role)
        facts |= {"how": how}
        checks += found
    except LimbeckError as error:
        checks.append(Check("loads and answers", False, str(error), "no error"))
    facts["architecture"] = _architecture(spec, recipe.folder)
    backend = None
    _forget()
    return Verified(**facts, checks=tuple(checks), seconds=round(time.perf_counter() - start, 1))


def _safetensors(spec: ModelSpec, folder: Path, name: str) -> Check:
    """That nothing has to be unpickled.

    Raises:
        LimbeckError: it isn't so.
    """
    from limbeck.models.presence import check_presence

    check_presence(models.located(spec, folder), spec.revision, where=f"models.{name}")
    return Check("weights", True, "safetensors alone are read", "safetensors")


def _architecture(spec: ModelSpec, folder: Path) -> str:
    """The class that a model's files name; of a Hub id, those in the cache."""
    if spec.is_endpoint:
        return ""
    place = Path(models.located(spec, folder))
    if not place.is_dir():
        from huggingface_hub import snapshot_download

        from limbeck.hub_errors import hub_errors

        try:
            place = Path(snapshot_download(spec.id, revision=spec.revision, local_files_only=True))
        except hub_errors():
            return ""
    return declared(place)[0].removeprefix("a ")


def _forget() -> None:
    """Gives a model's memory back, for the next one."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
