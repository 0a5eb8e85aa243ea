"""Sends a finished build to the Hugging Face Hub: what would go, whether it may go, and the upload.

    plan = plan_upload("OUT", "me/storybook-edits")     # a dry run: nobody is asked, nothing is sent
    sent = upload(plan)                                 # one commit; again: only what changed

Sent are the card, `data/`, the report, the resolved recipe, the lock and the verdicts. Rejected rows' pictures under
`stages/` and the answers under `journal/` stay here. A repository is private unless it is told to be public, the
token comes from the environment alone, and what can't be published says all its reasons at once.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck import __version__
from limbeck.built import Build, open_build
from limbeck.errors import HubRefused, NotPublishable, RequestError, WorkError
from limbeck.hub_errors import hub_errors
from limbeck.publishable import SENT, TOKENS, files, front_matter, notes, reasons_against
from limbeck.published_rows import Published

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_LONGEST_S = 600.0
"""After so long no other attempt is begun: the client's own retries of one request take minutes."""
_TRANSIENT = (408, 409, 425, 429)


@dataclass(frozen=True)
class Upload:
    """What an upload would send.

    Attributes:
        build: the build's folder.
        repo_id: `OWNER/NAME` on the Hub.
        public: whether a new repository would be for everybody to see.
        files: path in the build, which is the path on the Hub, to bytes.
        splits: kept rows by split.
        license: of the dataset, as the card states it.
        row_licenses: of the source rows, to rows.
        digest: of the recipe.
        notes: what is worth a look before it is sent.
    """

    build: Path
    repo_id: str
    public: bool
    files: dict[str, int]
    splits: dict[str, int]
    license: str
    row_licenses: dict[str, int]
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(self.files.values())

    @property
    def url(self) -> str:
        """Where it would be."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/datasets/{self.repo_id}"

    @property
    def card(self) -> str:
        """The dataset card, Markdown."""
        return (self.build / "README.md").read_text(encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """As JSON-like values."""
        return {
            "url": self.url, "repo_id": self.repo_id, "private": not self.public, "bytes": self.bytes,
            "files": self.files, "splits": self.splits, "license": self.license, "row_licenses": self.row_licenses,
            "notes": list(self.notes),
        }  # fmt: skip


@dataclass(frozen=True)
class Uploaded:
    """What an upload did.

    Attributes:
        url: of the dataset's page.
        commit: the commit that holds it.
        private: whether only its owner sees it.
        created: whether the repository is new.
        changed: whether anything had to be sent.
    """

    url: str
    commit: str
    private: bool
    created: bool
    changed: bool


def plan_upload(build: str | Path | Build, to: str, *, public: bool = False) -> Upload:
    """Says what an upload would send, without asking anybody.

    Args:
        build: a finished build or its folder.
        to: `OWNER/NAME` on the Hub.
        public: whether everybody may see it.

    Raises:
        BuildNotFound: the folder holds no build.
        NotPublishable: with every reason: the build isn't finished or empty, the card or rows have no licence, a
            secret of the environment stands in a file.
        RequestError: `to` can't be a name on the Hub.
    """
    check_name(to, where="--to")
    built = build if isinstance(build, Build) else open_build(build)
    sent = files(built.path)
    problems, licenses = reasons_against(built, sent)
    if problems:
        raise NotPublishable(problems, str(built.path))
    published = Published(built.path)
    return Upload(
        build=built.path,
        repo_id=to,
        public=public,
        files=sent,
        splits={split: published.count(split) for split in published.splits},
        license=front_matter(built)["license"],
        row_licenses=licenses,
        digest=built.recipe.digest(),
        notes=tuple(notes(built)),
    )


def check_name(to: str, *, where: str) -> None:
    """Looks whether a name could be one on the Hub.

    Raises:
        RequestError: it couldn't.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(to)
        if not all(to.partition("/")):
            raise HFValidationError("it has no owner")
    except HFValidationError as error:
        said = str(error).partition(". ")[0]
        raise RequestError(f"{to!r} can't be a name on the Hub ({said})", expected="OWNER/NAME", where=where) from None


def upload(
    plan: Upload, *, note: Callable[[str], None] | None = None, tries: int = 5, first_wait_s: float = 1.0
) -> Uploaded:
    """Makes the repository where it isn't there, and sends everything in a commit; files that are gone here go there too.

    Interrupted, the same call goes on: what was sent isn't sent again.

    Args:
        plan: from `plan_upload`.
        note: is told of retries.
        tries: attempts, the first included; the client itself tries single requests again.
        first_wait_s: before the second attempt; it doubles.

    Raises:
        HubRefused: the token, the rights, or a public repository that was not meant to be one.
        WorkError: the Hub can't be reached, or didn't take it; the same call goes on.
    """
    from huggingface_hub import HfApi, constants
    from tenacity import (
        RetryCallState,
        Retrying,
        retry_if_exception,
        stop_after_attempt,
        stop_after_delay,
        stop_any,
        wait_exponential_jitter,
    )

    token = next((os.environ[name] for name in TOKENS if os.environ.get(name)), None)
    if token is None:
        raise HubRefused(
            f"no token: the environment has no {TOKENS[0]}",
            where=constants.ENDPOINT,
            remedy=f"make one that may write at {constants.ENDPOINT}/settings/tokens and set {TOKENS[0]} to it",
        )
    if constants.HF_HUB_OFFLINE:
        raise HubRefused("HF_HUB_OFFLINE keeps off the Hub", where=constants.ENDPOINT, remedy="unset it")

    def tell(state: RetryCallState) -> None:
        if note is not None:
            wait = state.next_action.sleep
            note(f"{_said(state.outcome.exception())}; attempt {state.attempt_number + 1} of {tries} in {wait:.0f} s")

    attempts = Retrying(
        retry=retry_if_exception(_passes),
        stop=stop_any(stop_after_attempt(tries), stop_after_delay(_LONGEST_S)),
        wait=wait_exponential_jitter(first_wait_s, max=60, jitter=first_wait_s),
        before_sleep=tell,
        reraise=True,
    )
    api = HfApi(token=token, library_name="limbeck", library_version=__version__)
    try:
        with _quiet():
            return attempts(_send, api, plan)
    except (*hub_errors(), RuntimeError, ValueError) as error:
        raise _explained(error, plan, attempts.statistics.get("attempt_number", 1)) from error


def _send(api: HfApi, plan: Upload) -> Uploaded:
    """One attempt; every part of it may be done again."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        before = api.repo_info(plan.repo_id, repo_type="dataset")
    except RepositoryNotFoundError:
        before = None
    if before is None:
        api.create_repo(plan.repo_id, repo_type="dataset", private=not plan.public, exist_ok=True)
    elif not before.private and not plan.public:
        raise HubRefused(
            f"{plan.repo_id} is there already, and everybody can see it",
            where=plan.url,
            remedy="say --public if that is meant, or make it private on its page, or name another one",
        )
    api.upload_folder(
        repo_id=plan.repo_id,
        repo_type="dataset",
        folder_path=plan.build,
        allow_patterns=list(plan.files),
        delete_patterns=list(SENT),  # files of an earlier upload that this one doesn't have
        commit_message=f"{sum(plan.splits.values()):,} rows",
        commit_description=f"limbeck {__version__}, recipe {plan.digest}",
    )
    there = {entry.path: entry.size for entry in api.list_repo_tree(plan.repo_id, recursive=True, repo_type="dataset")
             if hasattr(entry, "size")}  # fmt: skip
    if wrong := [path for path, size in plan.files.items() if there.get(path) != size]:
        raise RuntimeError(f"{len(wrong)} files didn't arrive whole, such as {wrong[0]}")
    after = api.repo_info(plan.repo_id, repo_type="dataset")
    return Uploaded(
        url=plan.url,
        commit=after.sha,
        private=bool(after.private),
        created=before is None,
        changed=before is None or before.sha != after.sha,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the client's own remarks off the terminal; its progress bars stay."""
    from huggingface_hub.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def _passes(error: BaseException) -> bool:
    """Whether another attempt may go better."""
    if isinstance(error, RequestError | FileNotFoundError | PermissionError):
        return False
    status = _status(error)
    return (
        status is None or status in _TRANSIENT or status >= 500
        if isinstance(error, (*hub_errors(), RuntimeError, json.JSONDecodeError))
        else False
    )


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _said(error: BaseException) -> str:
    """The first line of a client's error, or the HTTP status."""
    status = _status(error)
    cause = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"the Hub answered HTTP {status}" if status else f"the Hub can't be reached ({cause})"


def _explained(error: Exception, plan: Upload, tries: int) -> Exception:
    """The client's last error as ours; a programming error as it is."""
    status = _status(error)
    owner = plan.repo_id.partition("/")[0]
    if status == 401:
        return HubRefused(
            f"the token in {TOKENS[0]} was refused (HTTP 401)", where=plan.url, remedy="set one that is valid there"
        )
    if status == 403:
        return HubRefused(
            f"the token may not write to {owner} (HTTP 403)",
            where=plan.url,
            remedy="give it write access, or name another owner",
        )
    if status is not None and 400 <= status < 500 and status not in _TRANSIENT:
        return HubRefused(f"the Hub refused it (HTTP {status}): {str(error).strip().splitlines()[-1]}", where=plan.url)
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):
        return HubRefused(f"the Hub's client refused it: {str(error).strip()}", where=plan.url)
    return WorkError(
        f"{_said(error)} in {tries} attempt{'s' * (tries > 1)}",
        where=plan.url,
        remedy="run the same command again: what was sent isn't sent again",
    )
