"""Model backends by role. Importing this loads no torch: a backend's libraries come with the backend.

role     recipe says              backend
chat     base_url                 chat_endpoint.EndpointChat
chat     mini:, folder, Hub id    chat_transformers.TransformersChat
image    mini:, folder, Hub id    image_diffusers.DiffusersImageModel
edit     mini:, folder, Hub id    edit_diffusers.DiffusersEditModel
score    mini:, folder, Hub id    score_transformers.TransformersScore
detect   folder, Hub id           detect_transformers.TransformersDetect
segment  folder, Hub id           segment_transformers.TransformersSegment
"""

from __future__ import annotations

import logging
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import LimbeckError, MissingExtra, ModelError, ModelNotFound, did_you_mean
from limbeck.hub_errors import hub_errors
from limbeck.models.declared import other_role
from limbeck.models.spec import ModelSpec
from limbeck.paths import beside

if TYPE_CHECKING:
    from limbeck.models.roles import Role

log = logging.getLogger(__name__)
MINIATURES = Path(__file__).parent.parent / "miniatures"
MINI_ROLES: dict[str, Role] = {"llm": "chat", "diffusion": "image", "clip": "score", "editor": "edit", "vlm": "chat"}
_DISTILLED = {"editor": "distill-editor-fast.toml", "vlm": "distill-vlm.toml"}  # from the others, by these recipes
_BACKENDS = ("chat", "image", "edit", "score", "detect", "segment")
_LIBRARIES = ("openai", "aiohttp", "transformers", "diffusers", "torch")


def load(spec: ModelSpec, role: Role, folder: Path | None = None, *, name: str = "") -> Any:
    """The backend that plays `role` for this model.

    Args:
        spec: the model.
        role: what a stage asks of it.
        folder: what relative model folders are relative to.
        name: of the model in its recipe, for messages.

    Raises:
        ModelNotFound: it isn't there, doesn't load, or can't play that role.
        UnsafeWeights: it has pickled weights only.
        MissingExtra: the backend's library isn't installed.
    """
    where = f"models.{name}" if name else f"model {spec.called}"
    if wrong := unfit(spec, role, folder):
        raise ModelNotFound(wrong, where=where)
    try:
        return _backend(spec if spec.is_endpoint else spec.model_copy(update={"id": located(spec, folder)}), role)
    except ModuleNotFoundError as error:
        if error.name not in _LIBRARIES:
            raise
        raise MissingExtra(error.name, where=where) from error
    except ModelError as error:  # at this point it isn't about a row: nothing can be built without the model
        raise ModelNotFound(error.found, expected=error.expected, where=where, remedy=error.remedy) from error
    except LimbeckError as error:
        error.where = f"{where}: {error.where}" if error.where else where
        raise


def _backend(spec: ModelSpec, role: Role) -> Any:
    if role == "chat" and spec.is_endpoint:
        from limbeck.models.chat_endpoint import EndpointChat

        return EndpointChat.from_spec(spec)
    if role == "chat":
        from limbeck.models.chat_transformers import TransformersChat

        return TransformersChat.from_spec(spec)
    if role == "image":
        from limbeck.models.image_diffusers import DiffusersImageModel

        return DiffusersImageModel.from_spec(spec)
    if role == "edit":
        from limbeck.models.edit_diffusers import DiffusersEditModel

        return DiffusersEditModel.from_spec(spec)
    if role == "detect":
        from limbeck.models.detect_transformers import TransformersDetect

        return TransformersDetect.from_spec(spec)
    if role == "segment":
        from limbeck.models.segment_transformers import TransformersSegment

        return TransformersSegment.from_spec(spec)
    from limbeck.models.score_transformers import TransformersScore

    return TransformersScore.from_spec(spec)


def unfit(spec: ModelSpec, role: Role, folder: Path | None = None) -> str | None:
    """Why this model can't play this role, as far as it shows without loading it; or None.

    >>> unfit(ModelSpec(id="mini:clip"), "chat")
    "'mini:clip' plays the role score; the stage needs chat"
    """
    if role not in _BACKENDS:
        return f"no backend plays the role {role} yet"
    if spec.is_endpoint:
        return None if role == "chat" else f"an endpoint plays the role chat; the stage needs {role}"
    if spec.is_mini:
        name = spec.id.removeprefix("mini:")
        if name not in MINI_ROLES:
            return f"no miniature {name!r}; {did_you_mean(name, MINI_ROLES)}"
        if MINI_ROLES[name] != role:
            return f"{spec.id!r} plays the role {MINI_ROLES[name]}; the stage needs {role}"
        if not (MINIATURES / name).is_dir():
            return f"{spec.id!r} isn't trained yet: there is no {MINIATURES / name}; run: {maker(name)}"
        return None
    path = Path(located(spec, folder))
    if path.is_dir() or path.is_file():
        return other_role(path, role)
    if _is_path(spec.id):
        return f"there is no model folder {path}"
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", spec.id):
        return f"{spec.id!r} is neither a folder nor a Hub id such as owner/name"
    return None


def maker(name: str) -> str:
    """The command that makes a miniature.

    >>> maker("llm"), maker("vlm")
    ('limbeck train-miniatures llm', 'limbeck distill recipes/distill-vlm.toml')
    """
    return f"limbeck distill recipes/{_DISTILLED[name]}" if name in _DISTILLED else f"limbeck train-miniatures {name}"


def located(spec: ModelSpec, folder: Path | None = None) -> str:
    """The folder of a miniature or a local model, or the Hub id itself."""
    if spec.is_mini:
        return str(MINIATURES / spec.id.removeprefix("mini:"))
    path = beside(folder, spec.id)
    return str(path) if _is_path(spec.id) or path.is_dir() else spec.id


def fingerprint(spec: ModelSpec, folder: Path | None = None) -> str:
    """Changes whenever the model could answer otherwise; found without loading it.

    An endpoint is known by address and name, a Hub model by commit (by revision where the Hub can't be asked), a
    folder by the contents of its files.
    """
    settings = {
        key: value for key, value in spec.identity().items() if key not in ("id", "revision", "base_url", "model")
    }
    suffix = "".join(f":{key}={value}" for key, value in sorted(settings.items()))
    if spec.is_endpoint:
        return f"endpoint:{spec.base_url.rstrip('/')}:{spec.model}{suffix}"
    place = located(spec, folder)
    if Path(place).exists():
        from limbeck.models.weights import weights_name

        contents = weights_name(place, place).removeprefix("folder@")
        return f"{spec.id if spec.is_mini else Path(place).name}:{contents}{suffix}"
    return f"{spec.id}@{_commit(spec.id, spec.revision)}{suffix}"


@cache
def _commit(repo_id: str, revision: str | None) -> str:
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub import HfApi, constants, snapshot_download

    try:
        cached = Path(snapshot_download(repo_id, revision=revision, local_files_only=True))
        if cached.parent.name == "snapshots":
            return cached.name
    except (OSError, ValueError):
        log.debug("%s is not in the local cache", repo_id)
    try:
        if not constants.HF_HUB_OFFLINE:
            return HfApi().model_info(repo_id, revision=revision, timeout=10).sha
    except hub_errors() as error:
        log.debug("the Hub doesn't say which commit %s is: %s", repo_id, error)  # loading says why
    return revision or "main"


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~"))
