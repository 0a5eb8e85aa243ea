"""The arms of a comparison: what each may see. Nothing here trains; `distill.arms` runs and compares them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """One way to train the same student from the same first weights on the same rows.

    Attributes:
        name: as in a recipe.
        signals: what the loss may see, see `distill.student.Term`.
        longer: the teacher's compute is spent on more steps.
        sham: targets belong to other rows: what remains of a gain is no knowledge.
        about: what it is, in words.
    """

    name: str
    signals: tuple[str, ...]
    longer: bool = False
    sham: bool = False
    about: str = ""

    @property
    def taught(self) -> bool:
        """Whether it sees targets, and with them rows without labels."""
        return "teacher" in self.signals


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("labels", ("label",), about="labels alone"),
        Arm("teacher", ("teacher",), about="the teacher alone, no label"),
        Arm("both", ("label", "teacher"), about="labels and teacher"),
        Arm("longer", ("label",), longer=True, about="labels alone, with the teacher's compute spent on more steps"),
        Arm("sham", ("label", "teacher"), sham=True, about="labels, and the teacher's answers to other rows"),
    )
}
