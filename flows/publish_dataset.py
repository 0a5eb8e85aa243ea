"""Publishing as a Prefect flow, so that uploads show beside the builds that they belong to.

The token is read from the environment of whoever runs it; it is no parameter, which Prefect would store.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from limbeck.hub import plan_upload, upload


@flow(name="publish-dataset", flow_run_name="{to}", validate_parameters=True)
def publish_dataset(build: str, to: str, public: bool = False) -> dict[str, Any]:
    """Sends a finished build to the Hub; again: only what changed.

    Args:
        build: the build's folder.
        to: OWNER/NAME on the Hub.
        public: whether a new repository is for everybody to see.

    Returns:
        `url`, `commit`, and whether the repository is `private`, was `created`, and has `changed`.

    Raises:
        RequestError: the build can't be published, or the Hub refuses it.
        WorkError: the upload failed; another run goes on.
    """
    plan = plan_upload(build, to, public=public)

    # The upload tries again by itself, with the waits that the Hub asks for.
    @task(name="upload", task_run_name="upload-to-{to}", cache_policy=NO_CACHE, persist_result=False)
    def upload_task(to: str) -> dict[str, Any]:
        return asdict(upload(plan, note=get_run_logger().warning))

    return upload_task(to)
