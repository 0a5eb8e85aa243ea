"""What a student may ask for while it works: recipe, rows, the teacher's answers, device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from limbeck.cpu import bf16_speed

if TYPE_CHECKING:
    from distill.dataset import Dataset
    from distill.recipe import DistillRecipe
    from distill.student import Student
    from distill.teacher_cache import Cache
    from limbeck.models.spec import ModelSpec


@dataclass(frozen=True)
class Work:
    """The surroundings of one training or evaluation.

    Attributes:
        recipe: the whole recipe.
        dataset: the rows.
        cache: the teacher's answers; None before they are there, or without a teacher.
        terms: loss terms of this arm, with their weights.
        seed: of this training; its first weights and its data order.
        device: name of the torch device.
        memo: what a student keeps between calls (decoded pictures, a bank on the device); shared by all arms.
    """

    recipe: DistillRecipe
    dataset: Dataset
    cache: Cache | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    device: str = "cpu"
    memo: dict[Any, Any] = field(default_factory=dict)

    @property
    def student(self) -> Student:
        """The student's settings."""
        return self.recipe.student

    def spec(self, setting: str) -> ModelSpec:
        """The model that a setting of the student names."""
        return self.recipe.models[getattr(self.student, setting)]

    @property
    def judged_by(self) -> tuple[str, str | None]:
        """Name of the judge, and, of a model, what changes whenever it could answer otherwise."""
        from limbeck import models

        name = self.recipe.evaluate.judge
        spec = self.recipe.models.get(name)
        return name, None if spec is None else models.fingerprint(spec, self.recipe.folder)

    def judge(self) -> Any:
        """The judge, loaded once: None for `truth`, `limbeck.models.reader.Reader`, or a model of `judge_role`."""
        name = self.recipe.evaluate.judge
        if name == "truth":
            return None
        if ("judge", name) not in self.memo:
            if name == "mini:reader":
                from limbeck.models.reader import Reader

                self.memo["judge", name] = Reader.load()
            else:
                from limbeck import models

                spec, role = self.recipe.models[name], self.student.judge_role
                self.memo["judge", name] = models.load(spec, role, self.recipe.folder, name=name)
        return self.memo["judge", name]

    def precision(self, phase: str) -> str:
        """That of a phase on this device: bfloat16 becomes `no` on a CPU that is slower at it than at float32."""
        wanted = self.recipe.train.phase(phase).precision
        return "no" if wanted == "bf16" and self.device == "cpu" and bf16_speed() < 1 else wanted

    def with_(self, **changes: Any) -> Work:
        """The same with something else in it; `memo` stays shared."""
        return replace(self, **changes)
