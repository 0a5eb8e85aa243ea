"""Weights come from safetensors or not at all: a pickled file runs whatever code it likes when it is opened.

Every backend that loads a folder or a Hub id calls `require_safetensors` first, so that the refusal names the
file and the remedy instead of ending as a traceback inside a library (or in a silent `torch.load`).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from limbeck.errors import ModelNotFound, UnsafeWeights
from limbeck.hub_errors import hub_errors

PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
"""Weight files that are pickles (or other formats which the backends don't read)."""
_NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states")


def require_safetensors(folder_or_id: str | Path, revision: str | None = None) -> None:
    """Checks that a model can be loaded from `*.safetensors` files alone.

    A folder with `model_index.json` (a diffusers pipeline) is checked component by component, any other folder
    at its root only: pickles beside safetensors are never opened, so they don't matter. Of a Hub id the file list
    is asked for, or the local cache looked at; where neither can be had the check passes, since the backends load
    with `use_safetensors=True` in any case.

    Args:
        folder_or_id: a folder, one weight file, or a Hub id such as `openai/clip-vit-large-patch14`.
        revision: branch, tag or commit of a Hub id.

    Raises:
        UnsafeWeights: only pickled weights are there; the message names them and the remedy.
        ModelNotFound: a folder without weights.
    """
    path = Path(folder_or_id).expanduser()
    if path.is_file():
        if path.suffix != ".safetensors":
            raise _refusal(str(path), [path.name])
        return
    if path.is_dir():
        index = path / "model_index.json"
        files = [PurePosixPath(p.relative_to(path).as_posix()) for p in path.rglob("*") if p.is_file()]
        components = _components(index.read_text(encoding="utf-8")) if index.is_file() else None
    else:
        listed = _hub_files(str(folder_or_id), revision)
        if listed is None:
            return
        files, components = listed
    pickled = pickled_only(files, components)
    if pickled:
        raise _refusal(str(folder_or_id), pickled)
    if not any(f.suffix == ".safetensors" for f in files):
        raise ModelNotFound(
            "found no weights",
            expected="*.safetensors" + (f" in {', '.join(sorted(components))}" if components else ""),
            where=str(folder_or_id),
            remedy="is this the folder that `save_pretrained` wrote?",
        )


def require_all_weights(loading_info: Mapping[str, Any], where: str, expected: str = "") -> None:
    """Checks that a checkpoint held every weight of its model; transformers would fill the others with random numbers.

    Args:
        loading_info: what `from_pretrained(..., output_loading_info=True)` returned beside the model.
        where: the model, for the message.
        expected: what a whole model of this kind is called.

    Raises:
        ModelNotFound: some are missing; the message names three.
    """
    if missing := sorted(loading_info["missing_keys"]):
        more = f" and {len(missing) - 3} others" if len(missing) > 3 else ""
        raise ModelNotFound(f"weights are missing: {', '.join(missing[:3])}{more}", expected=expected, where=where)


def pickled_only(files: list[PurePosixPath], components: set[str] | None) -> list[str]:
    """Weight files that a loader would have to unpickle, because no safetensors lies in the same folder.

    Args:
        files: paths relative to the model's root.
        components: names of a pipeline's subfolders; None for a single model, whose root alone counts.

    >>> pickled_only([PurePosixPath("unet/a.bin"), PurePosixPath("vae/b.safetensors")], {"unet", "vae"})
    ['unet/a.bin']
    >>> pickled_only([PurePosixPath("pytorch_model.bin"), PurePosixPath("model.safetensors")], None)
    []
    """
    by_folder: dict[str, list[PurePosixPath]] = defaultdict(list)
    for file in files:
        folder = file.parent.as_posix()
        if folder in ({"."} if components is None else components):
            by_folder[folder].append(file)
    found = []
    for inside in by_folder.values():
        if any(f.suffix == ".safetensors" for f in inside):
            continue
        found += [f.as_posix() for f in inside if f.suffix in PICKLED_SUFFIXES and not f.name.startswith(_NOT_WEIGHTS)]
    return sorted(found)


def _refusal(model: str, files: list[str]) -> UnsafeWeights:
    """What was found, what was expected, what to do."""
    shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    return UnsafeWeights(
        f"found only pickled weights ({shown}), which can run any code when opened",
        expected="*.safetensors",
        where=model,
        remedy="name a revision that has safetensors; or, if you trust the files, load them yourself and call "
        "`model.save_pretrained(FOLDER, safe_serialization=True)`",
    )


def _components(model_index: str) -> set[str]:
    """Subfolders of a diffusers pipeline that hold a class: `{"unet": ["diffusers", "UNet2DConditionModel"], ...}`."""
    entries = json.loads(model_index)
    return {k for k, v in entries.items() if isinstance(v, list) and len(v) == 2 and v[1] is not None}


def _hub_files(repo_id: str, revision: str | None) -> tuple[list[PurePosixPath], set[str] | None] | None:
    """Files and components of a Hub id, as the Hub lists them, or else the local cache; None where neither answers."""
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download

    try:
        cached = Path(snapshot_download(repo_id, revision=revision, local_files_only=True))
        names = [p.relative_to(cached).as_posix() for p in cached.rglob("*") if p.is_file()]
    except hub_errors():
        names = []
    complete = any(name.endswith(".safetensors") for name in names)
    try:
        if not complete and not constants.HF_HUB_OFFLINE:
            names = HfApi().list_repo_files(repo_id, revision=revision)
        components = None
        if "model_index.json" in names:
            index = hf_hub_download(repo_id, "model_index.json", revision=revision, local_files_only=complete)
            components = _components(Path(index).read_text(encoding="utf-8"))
    except hub_errors():
        return None  # no network, no such repository, no access: the loader's own error says which
    return ([PurePosixPath(name) for name in names], components) if names else None


def weights_name(folder_or_id: str | Path, snapshot: str | Path) -> str:
    """What identifies weights: `owner/name@commit` of a Hub snapshot, else a hash of the folder's files.

    Args:
        folder_or_id: what the recipe says.
        snapshot: the local folder that it was loaded from.
    """
    snapshot = Path(snapshot)
    if snapshot.parent.name == "snapshots":
        return f"{folder_or_id}@{snapshot.name}"
    files = [file for file in sorted(snapshot.rglob("*")) if file.suffix in _READ]
    stats = [file.stat() for file in files]
    return _hashed(snapshot, tuple(files), tuple((stat.st_size, stat.st_mtime_ns) for stat in stats))


_READ = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab", ".spm"})
"""Endings of files that change what a model answers: weights, settings, tokenizers, chat templates."""


@cache
def _hashed(folder: Path, files: tuple[Path, ...], stats: tuple[tuple[int, int], ...]) -> str:
    """Hash of the files' names and contents, computed anew when a size or time of `stats` changes."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "blake2b").digest())
    return f"folder@{digest.hexdigest()}"
