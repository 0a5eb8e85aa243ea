"""Recipes of the toy stages, and what the tests ask of a build."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

from limbeck.progress import Observer

TOYS = Path(__file__).parent / "toy_stages.py"
PAINTED = f"""
[[stages]]
use = "{TOYS}:Instruct"
[[stages]]
use = "{TOYS}:Paint"
scorer = "one"
[[stages]]
use = "{TOYS}:Direction"
scorer = "one"
"""
"""Instructions, pairs of pictures for each, and a filter of their direction."""


class Watching(Observer):
    """Counts the parts that were worked on and keeps the notes; may interrupt the work as Ctrl-C does."""

    def __init__(self, interrupted_at=None):
        self.worked, self.notes, self.interrupted_at = Counter(), [], interrupted_at

    def part_started(self, stage, part, rows):
        self.worked[stage] += 1

    def part_done(self, stage, part, **_):
        if (stage, part) == self.interrupted_at:
            raise KeyboardInterrupt

    def note(self, text):
        self.notes.append(text)


def toy_recipe(folder: Path, captions: list[str] | int = 20, *, run: str = "", lucky: str = "", best: bool = True,
               sample: str = "", instruct: str = "", unique: bool = True, more: str = "") -> Path:  # fmt: skip
    """A recipe of captions -> instruct -> sample -> lucky -> best -> unique in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(captions, int):
        captions = [f"a red house number {i}" for i in range(captions)]
    (folder / "captions.txt").write_text("".join(f"{c}\n" for c in captions), encoding="utf-8")
    use = f'use = "{TOYS}:{{}}"'
    stages = [f'[[stages]]\nid = "{n.lower()}"\n{use.format(n)}\n{s}' for n, s, there in (
        ("Instruct", instruct, True), ("Sample", sample, True), ("Lucky", lucky, True), ("Best", "", best),
        ("Unique", "", unique),
    ) if there]  # fmt: skip
    text = "\n".join([
        '[dataset]\nname = "toys"\nrecord = "EditInstruction"\nseed = 7\n',
        '[source]\ncaptions = "captions.txt"\n', *stages, more, f"[run]\npart_rows = 4\n{run}\n",
    ])  # fmt: skip
    (folder / "recipe.toml").write_text(text, encoding="utf-8")
    return folder / "recipe.toml"


def data_digest(out: Path) -> dict[str, str]:
    """Hash of every file of `data/`."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((out / "data").iterdir())}
