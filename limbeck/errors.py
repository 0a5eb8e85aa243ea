"""Everything that limbeck raises on purpose.

LimbeckError                   found, expected, where, remedy; `exit_code` is what the command line returns
|-- RequestError       exit 2  the request was wrong: nothing was built, change the request
|   |-- RecipeError            one or many problems of a recipe, each with its key
|   |-- SettingError           one setting (also a ValueError, so that pydantic collects it)
|   |-- SourceError            the rows to start from can't be read
|   |-- StageNotFound          no stage of that name
|   |-- ModelNotFound          a model isn't there, or isn't of the role that a stage needs
|   |-- UnsafeWeights          pickled weights, remote code
|   |-- EndpointRefused        401, 403, 404 of an endpoint: every further call would fail alike
|   |-- MissingExtra           an optional dependency isn't installed
|   |-- NotPublishable         one or many reasons against handing a build out
|   |-- HubRefused             the Hub's token or rights, or a repository that others see
|   `-- BuildNotFound          the folder holds no build, or another one
`-- WorkError          exit 1  the work failed: fix the cause and run again, it resumes
    |-- ModelError             a model failed on a row: the row fails, up to `run.max_error_rate`
    |   |-- EndpointError      no answer, or 408, 409, 429, 5xx, after the client's own retries
    |   `-- BadAnswer          an answer that can't be used, after repair
    |-- EndpointUnreachable    an endpoint never answered: nobody there, or nothing but errors
    |-- TooManyErrors          more rows failed than `run.max_error_rate` allows
    |-- DiskFull               nothing half-written counts; free some space and run again
    `-- BuildBusy              another process holds what this one needs

ContractError                  a stage broke its contract (a programming error: it propagates with its traceback)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class LimbeckError(Exception):
    """Says what was found, what was expected, where, and what to do; the facts are fields too.

    >>> print(LimbeckError("no column 'caption'", expected="a column of strings", where="source.captions"))
    source.captions: no column 'caption'; expected a column of strings

    Attributes:
        found: what is wrong, as one clause.
        expected: what would have been right.
        where: recipe key, stage, row id or file.
        remedy: what to do about it.
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", where: str = "", remedy: str = "") -> None:
        super().__init__(found)
        self.found, self.expected, self.where, self.remedy = found, expected, where, remedy

    def __str__(self) -> str:
        text = f"{self.where}: {self.found}" if self.where else self.found
        if self.expected:
            text += f"; expected {self.expected}"
        if self.remedy:
            text += f". {self.remedy[0].upper()}{self.remedy[1:]}"
        return text

    def __reduce__(self) -> tuple:
        return _rebuild, (type(self), self.__dict__, self.args)  # keyword-only facts survive process borders


def _rebuild(kind: type[LimbeckError], facts: dict, args: tuple) -> LimbeckError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(facts)
    error.args = args
    return error


class RequestError(LimbeckError):
    """The request was wrong; nothing was built."""

    exit_code = 2


class WorkError(LimbeckError):
    """The work failed; after the cause is gone the same command resumes."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a recipe: `key` as in `stages[1].samples`."""

    key: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.found}" + (f" ({self.remedy})" if self.remedy else "")


class RecipeError(RequestError):
    """All problems of a recipe at once.

    Attributes:
        problems: each with its key.
        recipe: the file, or a word for where the recipe came from.
    """

    def __init__(self, problems: Iterable[Problem], recipe: str = "recipe") -> None:
        self.problems = tuple(problems)
        self.recipe = recipe
        count = len(self.problems)
        super().__init__(f"{count} {'problem' if count == 1 else 'problems'}", where=recipe)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(f"  {problem}" for problem in self.problems)])


class SettingError(RequestError, ValueError):
    """A setting's value can't be used; raised in a stage's own validation it joins the recipe's other problems."""


class SourceError(RequestError):
    """The rows to start from can't be read."""


class StageNotFound(RequestError):
    """No stage answers to that name."""


class ModelNotFound(RequestError):
    """A model isn't there, can't be loaded, or isn't of the role that the stage needs."""


class UnsafeWeights(RequestError):
    """Weights that would run code when opened."""


class EndpointRefused(RequestError):
    """An endpoint refuses every call alike: wrong key, no permission, no such model."""


class MissingExtra(RequestError):
    """A dependency isn't installed: one of an extra, or of limbeck itself in an environment that was tampered with.

    >>> print(MissingExtra("peft", extra="distill", where="student"))
    student: the package 'peft' is not installed. Run: pip install 'limbeck[distill]'
    >>> print(MissingExtra("openai"))
    the package 'openai' is not installed. Run: pip install openai
    """

    def __init__(self, package: str, *, extra: str = "", where: str = "") -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"the package '{package}' is not installed",
            where=where,
            remedy=f"run: pip install 'limbeck[{extra}]'" if extra else f"run: pip install {package}",
        )


class BuildNotFound(RequestError):
    """The folder holds no build, or not the one that was asked for."""


class NotPublishable(RecipeError):
    """All reasons against handing a build out, at once."""


class HubRefused(RequestError):
    """The Hub refuses the upload, or it isn't what was asked for: wrong token, no rights, a repository others see."""


class ModelError(WorkError):
    """A model failed on one row. The row ends as failed; the build goes on within `run.max_error_rate`."""


class EndpointError(ModelError):
    """An endpoint gave no answer after the client's retries.

    Attributes:
        status: HTTP status, or None where no answer came at all.
    """

    def __init__(self, found: str, *, status: int | None = None, **facts: str) -> None:
        super().__init__(found, **facts)
        self.status = status


class EndpointUnreachable(WorkError):
    """An endpoint has not answered once: nobody is there, or it has nothing but errors. Every row would fail."""


class BadAnswer(ModelError):
    """A model answered something that can't be used, and repair didn't help."""


class TooManyErrors(WorkError):
    """More rows failed than the recipe allows."""


class DiskFull(WorkError):
    """The disk is full. Nothing that was half-written counts as done."""


class BuildBusy(WorkError):
    """Another process holds what this one needs."""


class ContractError(Exception):
    """A stage broke its contract: a programming error, which propagates with its traceback."""


def one_line(error: BaseException | str, most: int = 300) -> str:
    """A library's words on one line, at most so many characters.

    >>> one_line(ValueError("it takes one of:\\n  (1) this,\\n  (2) that"))
    'it takes one of: (1) this, (2) that'
    """
    words = " ".join(str(error).split())
    return words if len(words) <= most else f"{words[: most - 3]}..."


_MOST = 40
"""Names that a hint lists."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name that isn't known.

    >>> did_you_mean("sample", ["samples", "steps"])
    "did you mean 'samples'?"
    >>> did_you_mean("zzz", ["samples", "steps"])
    'known: samples, steps'
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean '{near[0]}'?"
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return f"known: {', '.join(known[:_MOST])}{more}" if known else "none are known"
