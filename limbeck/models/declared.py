"""What a model's folder says of itself, read without any model library: enough to see that it can't play a role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.models.roles import Role

ROLES: dict[str, Role] = {
    **dict.fromkeys(("clip", "siglip", "siglip2", "dinov2", "dinov2_with_registers"), "score"),
    **dict.fromkeys(("grounding-dino", "mm-grounding-dino"), "detect"),
    **dict.fromkeys(("sam2", "sam2_video"), "segment"),
}
"""`model_type` of a config to the role that such a model plays: the backends' own tables, as a test asserts."""
_OTHER_TASKS = (
    "Classification", "Detection", "Segmentation", "DepthEstimation", "QuestionAnswering", "ForMaskedLM", "ForCTC",
)  # fmt: skip
"""Ends of the names of classes that no backend loads, whatever their `model_type`."""
_WRITERS = ("ForCausalLM", "ForConditionalGeneration", "ForImageTextToText")


def other_role(folder: Path, role: Role) -> str | None:
    """Says so where a folder's own files declare a model of another role; None where they don't.

    Args:
        folder: a model's folder.
        role: what a stage asks of it.
    """
    what, plays = declared(folder)
    if plays is None and what.endswith(_OTHER_TASKS):
        return f"{folder} holds {what}, which plays no role here; the stage needs {role}"
    if plays is None or plays == role:
        return None
    return f"{folder} holds {what}, which plays the role {plays}; the stage needs {role}"


def declared(folder: Path) -> tuple[str, Role | None]:
    """What a folder holds, in words, and the role that it plays; None where that can't be told."""
    index = _json(folder / "model_index.json")
    if index:
        kind = str(index.get("_class_name", "diffusers pipeline"))
        return f"a {kind}", "edit" if kind.endswith("Pix2PixPipeline") else "image"
    config = _json(folder / "config.json")
    kind, classes = config.get("model_type"), config.get("architectures") or [""]
    what = f"a {classes[0] or kind}"
    if kind in ROLES:
        return what, ROLES[kind]
    return what, "chat" if str(classes[0]).endswith(_WRITERS) else None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
