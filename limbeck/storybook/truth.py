"""Whether an edit happened and the rest stayed, decided on attributes.

What was asked is known exactly: the caption gives the scene before, the instruction gives the scene after. What the
pictures show comes as class indices (`attributes.FIELDS`), from `mini:reader` or from a scene itself.

    happened   every attribute the edit changes reads as before in the first picture and as asked in the second
    stayed     every other attribute reads the same in both pictures
    right      both
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limbeck.storybook.attributes import attributes
from limbeck.storybook.edits import parse_instruction
from limbeck.storybook.grammar import parse_caption
from limbeck.storybook.scene import Scene


@dataclass(frozen=True)
class Verdicts:
    """One boolean per pair; `asked` is False where caption or instruction is not of this world or fits no edit."""

    asked: NDArray[np.bool_]
    happened: NDArray[np.bool_]
    stayed: NDArray[np.bool_]

    @property
    def right(self) -> NDArray[np.bool_]:
        """The edit happened and the rest stayed."""
        return self.happened & self.stayed


def asked_for(caption: str, instruction: str) -> tuple[Scene, Scene] | None:
    """The scenes before and after, or None where the words make no edit of this world.

    >>> before, after = asked_for("a big red ball on the left, on grass, by day", "make it night")
    >>> before.time, after.time
    ('day', 'night')
    """
    before, edit = parse_caption(caption), parse_instruction(instruction)
    after = edit.apply(before) if before and edit else None
    return (before, after) if before and after else None


def judge(
    before: NDArray[np.int64], after: NDArray[np.int64], captions: list[str], instructions: list[str]
) -> Verdicts:
    """Judges pairs.

    Args:
        before: (N, len(FIELDS)) what the first pictures show.
        after: (N, len(FIELDS)) what the second pictures show.
        captions: N captions of the scenes before.
        instructions: N instructions.
    """
    n = len(captions)
    asked, happened, stayed = (np.zeros(n, bool) for _ in range(3))
    for i, (caption, instruction) in enumerate(zip(captions, instructions, strict=True)):
        scenes = asked_for(caption, instruction)
        if scenes is None:
            continue
        source, target = (attributes(s) for s in scenes)
        changed = source != target
        asked[i] = True
        happened[i] = (before[i] == source)[changed].all() and (after[i] == target)[changed].all()
        stayed[i] = (before[i] == after[i])[~changed].all()
    return Verdicts(asked, happened, stayed)
