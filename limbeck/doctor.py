"""What this machine can run, what is missing, and what to do about it. Nothing is changed, no secret is shown."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.recipe import Recipe

_KEYS = ("OPENAI_API_KEY", "HF_TOKEN")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what, in a word or two.
        state: `good`; `note`: works, but worth knowing; `missing`: something can't run.
        found: what is there.
        remedy: what to do, for what is missing.
    """

    topic: str
    state: Literal["good", "note", "missing"]
    found: str
    remedy: str = ""


def examine(recipe: Recipe | None = None) -> list[Finding]:
    """Looks at the machine, and at what a recipe needs of it.

    Args:
        recipe: whose models are looked for; none are loaded.
    """
    found = [_python(), _packages(), *_devices(), _memory(), _disk(), *_hub(), _miniatures(), *_keys()]
    return found + (list(_models(recipe)) if recipe else [])


def _python() -> Finding:
    words = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.prefix}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "good", words)
    return Finding("Python", "missing", words, "limbeck is made for Python 3.11 to 3.13")


def _packages() -> Finding:
    """Every requirement of limbeck against what is installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("limbeck") or ()]
    except PackageNotFoundError:
        return Finding("packages", "note", "limbeck runs from its source folder", "pip install -c constraints.txt -e .")
    wrong = []
    checked = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    for requirement in checked:
        try:
            have = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        if not requirement.specifier.contains(have, prereleases=True):
            wrong.append(f"{requirement.name} {have}, expected {requirement.specifier}")
    if wrong:
        return Finding("packages", "missing", "; ".join(wrong), "pip install -c constraints.txt -e .")
    return Finding("packages", "good", f"all {len(checked)} as limbeck wants them, torch {version('torch')}")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("devices", "missing", f"torch doesn't import: {error}", "pip install 'torch>=2.11,<2.14'")
        return
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        bf16 = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16"
        words = f"{torch.cuda.get_device_name(i)}, {free / _GIB:.0f} of {total / _GIB:.0f} GiB free, {bf16}"
        yield Finding(f"cuda:{i}", "good", words)
    if torch.backends.mps.is_available():
        yield Finding("mps", "good", "Apple GPU")
    words = f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads, {_bf16()}"
    if torch.cuda.device_count() or torch.backends.mps.is_available():
        yield Finding("cpu", "good", words)
    else:
        yield Finding("cpu", "note", f"{words}; no GPU", "the miniatures run here; full-size painters want a GPU")


def _bf16() -> str:
    from limbeck.cpu import bf16_speed

    speed = bf16_speed()
    return f"bfloat16 at {speed:.1f} times float32's speed" if speed else "no bfloat16"


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    words = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    if memory.available < 3 * _GIB:
        return Finding("memory", "note", words, "the demo wants 3 GiB: close something")
    return Finding("memory", "good", words)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    words = f"{free / _GIB:.1f} GiB free at {Path.cwd()}"
    return Finding("disk", "good", words) if free > 2 * _GIB else Finding("disk", "note", words, "free some space")


def _hub() -> Iterator[Finding]:
    try:
        from huggingface_hub import constants
    except ImportError:
        yield Finding("Hub", "missing", "huggingface_hub is not installed", "pip install huggingface_hub")
        return
    cache = Path(constants.HF_HUB_CACHE)
    models = sorted(cache.glob("models--*")) if cache.is_dir() else []
    offline = [name for name in _OFFLINE if os.environ.get(name, "").lower() in ("1", "true", "yes", "on")]
    words = f"{len(models)} models in {cache}"
    if offline:
        yield Finding("Hub", "note", f"{words}; offline by {', '.join(offline)}", "unset it to download models")
    else:
        yield Finding("Hub", "good", words)


def _miniatures() -> Finding:
    from limbeck.models import MINI_ROLES, MINIATURES, maker

    there = [name for name in MINI_ROLES if any((MINIATURES / name).glob("**/*.safetensors"))]
    away = [name for name in MINI_ROLES if name not in there]
    if away:
        remedy = "; ".join(map(maker, away))
        return Finding("miniatures", "missing", f"not trained: {', '.join(away)}", remedy)
    return Finding("miniatures", "good", ", ".join(f"mini:{name}" for name in there))


def _keys() -> Iterator[Finding]:
    for name in _KEYS:
        if os.environ.get(name):
            yield Finding(name, "good", "is set")
        else:
            yield Finding(name, "note", "is not set; only some endpoints and models need it")


def _models(recipe: Recipe) -> Iterator[Finding]:
    from limbeck import models
    from limbeck.stage import models_of

    used = {name: role for table in recipe.stages for name, role in models_of(table.stage).values()}
    for name, role in used.items():
        spec, topic = recipe.models[name], f"models.{name}"
        try:
            wrong = models.unfit(spec, role, recipe.folder)
        except LimbeckError as error:
            wrong = str(error)
        if wrong:
            yield Finding(topic, "missing", wrong)
        elif spec.is_endpoint:
            yield _endpoint(topic, spec.base_url, spec.api_key_env)
        elif spec.is_mini or Path(models.located(spec, recipe.folder)).exists():
            yield Finding(topic, "good", f"{spec.id}, {role}")
        else:
            yield _hub_model(topic, spec.id, spec.revision)


def _endpoint(topic: str, base_url: str, key: str) -> Finding:
    """Whether anybody answers there; any HTTP status will do, nothing is asked that costs."""
    import urllib.error
    import urllib.request

    have = "is set" if os.environ.get(key) else "is not set"
    try:
        with urllib.request.urlopen(f"{base_url.rstrip('/')}/models", timeout=5):
            pass
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Finding(topic, "missing", f"{base_url} doesn't answer: {reason}", "start the server, or mend base_url")
    return Finding(topic, "good", f"{base_url} answers; {key} {have}")


def _hub_model(topic: str, repo_id: str, revision: str | None) -> Finding:
    from huggingface_hub import constants, snapshot_download

    try:
        place = snapshot_download(repo_id, revision=revision, local_files_only=True)
    except (OSError, ValueError):
        if constants.HF_HUB_OFFLINE:
            return Finding(
                topic, "missing", f"{repo_id} is not in the cache, and the Hub is off", "unset HF_HUB_OFFLINE"
            )
        return Finding(topic, "note", f"{repo_id} is not in the cache; it is downloaded when first used")
    return Finding(topic, "good", f"{repo_id} in {place}")
