"""Puts a recipe's build on a schedule: a deployment of the flow `build_dataset` on the user's Prefect server.

The flow is referred to as `flows.build_dataset:build_dataset`, so whoever runs it needs limbeck installed and nothing
copied. It runs in the folder from which it was deployed, by a worker of a process pool, with that worker's environment:
keys and tokens are its own, never the deployment's. A run that meets an earlier one still at work is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from limbeck.errors import EndpointUnreachable, RequestError, WorkError
from limbeck.recipe import Recipe, load

ENTRYPOINT = "flows.build_dataset:build_dataset"
POOL = "limbeck"


@dataclass(frozen=True)
class Deployed:
    """A deployment as it now stands on the server.

    Attributes:
        name: FLOW/NAME, as Prefect's own commands have it.
        id: on the server.
        url: of its page, where the server has pages.
        pool: work pool whose workers run it.
        cron: when.
        timezone: in which `cron` is meant.
        next: when it runs first.
        parameters: of each run.
    """

    name: str
    id: str
    url: str
    pool: str
    cron: str
    timezone: str
    next: datetime
    parameters: dict[str, Any]


def deploy(
    recipe: str | Path,
    cron: str,
    *,
    timezone: str = "UTC",
    out: str | Path | None = None,
    limit: int | None = None,
    sets: Sequence[str] = (),
    publish: str | None = None,
    public: bool = False,
    name: str | None = None,
    pool: str = POOL,
) -> Deployed:
    """Schedules a recipe's build; the same name again replaces what was scheduled.

    Args:
        recipe: a TOML file that the worker finds at the same path.
        cron: such as `0 3 * * 1`, Mondays at 3.
        timezone: in which `cron` is meant, such as `Europe/Berlin`.
        out: the build's folder; `builds/NAME` here by default. The same folder each time: a run pays for new rows only.
        limit: at most so many source rows.
        sets: overrides such as `pairs.samples=8`.
        publish: OWNER/NAME on the Hub to which each finished build goes.
        public: whether a repository made there is for everybody to see.
        name: of the deployment; the dataset's by default.
        pool: a Prefect work pool; made, for processes, where it isn't there.

    Raises:
        RequestError: the recipe, the schedule, the time zone or the name on the Hub is wrong, or no server is configured.
        EndpointUnreachable: the configured server doesn't answer.
        WorkError: it refuses.
    """
    checked = load(recipe, sets=sets)
    if publish is not None:
        _check_publishing(checked, publish)
    schedule, first = _schedule(cron, timezone)
    url = _configured()
    name = name or checked.dataset.name
    parameters = {
        "recipe": str(Path(recipe).expanduser().resolve()),
        "out": str(Path(out or Path("builds") / checked.dataset.name).expanduser().resolve()),
        "sets": list(sets),
        "limit": limit,
        "publish": publish,
        "public": public,
    }
    flow, made = _register(url, name, pool, schedule, parameters)
    return Deployed(f"{flow}/{name}", made, _page(url, made), pool, cron, timezone, first, parameters)


def _check_publishing(recipe: Recipe, to: str) -> None:
    """Refuses now what every run would refuse after hours of work.

    Raises:
        RequestError: `to` is no name on the Hub, or the recipe states no licence.
    """
    from limbeck.hub import check_name
    from limbeck.publishable import has_license

    check_name(to, where="--publish")
    if not has_license(recipe.dataset.license, recipe.dataset.license_name):
        raise RequestError(
            f"license = {recipe.dataset.license!r}, and without a licence nothing is published",
            where="dataset.license",
            expected="an identifier such as cc-by-4.0",
        )


def _schedule(cron: str, timezone: str) -> tuple[Any, datetime]:
    """Prefect's schedule, and its first date from now.

    Raises:
        RequestError: no such schedule or time zone.
    """
    from flows.prefect_api import prepare

    prepare()
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.server.schemas.schedules import CronSchedule as Dated
    from pydantic import ValidationError

    try:
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        key = error.errors()[0]["loc"][0]
        if key == "timezone":
            raise RequestError(
                f"{timezone!r} is no time zone", expected="a name such as Europe/Berlin", where="--timezone"
            ) from None
        raise RequestError(
            f"{cron!r} is no schedule", where="--cron",
            expected="minute, hour, day of the month, month, day of the week, such as '0 3 * * 1' for Mondays at 3",
        ) from None  # fmt: skip
    try:
        (first,) = asyncio.run(Dated(cron=cron, timezone=timezone).get_dates(n=1))
    except ValueError:  # Prefect's reader of schedules: no such day; or none came
        raise RequestError(f"{cron!r} never comes", where="--cron", expected="a day that some year has") from None
    return schedule, first


def _configured() -> str:
    from flows.prefect_api import configured

    url = configured()
    if url is None:
        raise RequestError(
            "no Prefect server is configured, and a schedule needs one that stays",
            expected="PREFECT_API_URL, such as http://127.0.0.1:4200/api",
            remedy="start one with `prefect server start`, then "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`",
        )
    return url


def _register(url: str, name: str, pool: str, schedule: Any, parameters: dict[str, Any]) -> tuple[str, str]:
    """Makes pool and deployment where they aren't there, else brings the deployment up to date; flow's name and its id."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError
    from prefect.utilities.callables import parameter_schema

    from flows.build_dataset import build_dataset

    try:
        with get_client(sync_client=True) as client:
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            made = client.create_deployment(
                flow_id=client.create_flow(build_dataset),
                name=name,
                description=build_dataset.description,
                entrypoint=ENTRYPOINT,
                pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(Path.cwd())}}],
                work_pool_name=pool,
                schedules=[DeploymentScheduleCreate(schedule=schedule)],
                concurrency_limit=1,
                concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
                parameters=parameters,
                parameter_openapi_schema=parameter_schema(build_dataset).model_dump_for_openapi(),
                enforce_parameter_schema=True,
                tags=["limbeck"],
            )
    except PrefectHTTPStatusError as error:
        raise WorkError(
            f"the Prefect server answered HTTP {error.response.status_code}: {error.response.text[:300]}", where=url
        ) from error
    except (httpx.HTTPError, RuntimeError, OSError) as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise EndpointUnreachable(
            f"the Prefect server doesn't answer ({said})", where=url, remedy="start it, or mend PREFECT_API_URL"
        ) from error
    return build_dataset.name, str(made)


def _page(url: str, deployment: str) -> str:
    from prefect.settings import get_current_settings

    ui = get_current_settings().ui_url or url.removesuffix("/api")
    return f"{ui}/deployments/deployment/{deployment}"
