"""Whether a model can be had, found in a moment and before anything is computed: its folder, or its place on the Hub.

The loaders would find out too, but after earlier stages have worked for hours, and after minutes of retries.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from limbeck import models
from limbeck.errors import ModelNotFound, Problem, RecipeError, UnsafeWeights
from limbeck.hub_errors import hub_errors
from limbeck.models.spec import ModelSpec
from limbeck.models.weights import require_safetensors


def check_models_are_there(specs: Mapping[str, ModelSpec], folder: Path, origin: str) -> None:
    """Looks for every model of a recipe that isn't an endpoint.

    Args:
        specs: by name.
        folder: what relative model folders are relative to.
        origin: the recipe, for messages.

    Raises:
        ModelNotFound: one isn't there.
        UnsafeWeights: one has pickled weights only.
        RecipeError: several are wrong, each with its key.
    """
    found: list[ModelNotFound | UnsafeWeights] = []
    for name, spec in specs.items():
        if not spec.is_endpoint and not spec.is_mini:
            try:
                check_presence(models.located(spec, folder), spec.revision, where=f"models.{name}")
            except (ModelNotFound, UnsafeWeights) as error:
                found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise RecipeError((Problem(e.where, e.found, e.remedy) for e in found), origin)


def check_presence(place: str, revision: str | None, *, where: str) -> None:
    """Looks for a model's weights; loads none.

    Args:
        place: a folder, or a Hub id.
        revision: branch, tag or commit of a Hub id.
        where: the recipe's key, for messages.

    Raises:
        ModelNotFound: it isn't there, or the Hub can't be asked and the local cache doesn't have it.
        UnsafeWeights: pickled weights only.
    """
    if not Path(place).exists() and (away := _away(place, revision)):
        found, remedy = away
        raise ModelNotFound(found, where=where, remedy=remedy)
    try:
        require_safetensors(place, revision)
    except (ModelNotFound, UnsafeWeights) as error:
        error.where = where if error.where == place else f"{where}: {error.where}"
        raise


@cache
def _away(repo_id: str, revision: str | None) -> tuple[str, str] | None:
    """Why a Hub id can't be had, and what to do; None where it can."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        snapshot_download(repo_id, revision=revision, local_files_only=True)
    except hub_errors():
        pass
    else:
        return None
    cache_folder, hub = constants.HF_HUB_CACHE, constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        name = next((n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(n)), "HF_HUB_OFFLINE")
        return (
            f"{repo_id!r} is no folder here and isn't in the cache {cache_folder}, and {name} keeps off the Hub",
            f"unset {name}, or name a folder",
        )
    try:
        HfApi().model_info(repo_id, revision=revision, timeout=10)
    except GatedRepoError:
        return (
            f"{repo_id!r} is gated, and this account may not read it",
            f"accept its terms at {hub}/{repo_id} and set HF_TOKEN",
        )
    except RevisionNotFoundError:
        return f"{repo_id!r} has no revision {revision!r}", f"{hub}/{repo_id}/tree/main lists what there is"
    except RepositoryNotFoundError:
        return (
            f"{hub} has no model {repo_id!r}, or shows it to its owner only",
            "check the name; for a private model set HF_TOKEN",
        )
    except hub_errors() as error:
        said = str(error).strip().partition("\n")[0]
        return (
            f"{repo_id!r} is no folder here and isn't in the cache {cache_folder}, and {hub} can't be asked: {said}",
            "check the network, or name a folder",
        )
    return None
