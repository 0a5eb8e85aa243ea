"""limbeck turns one recipe file into a published synthetic dataset and a small student model distilled from it.

    import limbeck

    result = limbeck.build("recipes/storybook_edits.toml", "OUT")
    print(result.funnel())
    for row in result.rows():
        ...

Stages are written against `limbeck.stage`, `limbeck.records` and `limbeck.errors`. Importing this loads no torch,
and nothing else before it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.building import build, preview, refilter
    from limbeck.built import Build, open_build
    from limbeck.hub import plan_upload, upload
    from limbeck.recipe import Recipe, load

__version__ = "0.1.0"
__all__ = [
    "Build", "Recipe", "__version__", "build", "load", "open_build", "plan_upload", "preview", "refilter", "upload",
]  # fmt: skip

_FROM = {
    "build": "building", "preview": "building", "refilter": "building", "Build": "built", "open_build": "built",
    "Recipe": "recipe", "load": "recipe", "plan_upload": "hub", "upload": "hub",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"limbeck.{_FROM[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FROM])
