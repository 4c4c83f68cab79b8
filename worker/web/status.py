"""``/v1/status`` and ``/v1/alerts``: what `vtsync status --json` and `vtsync alerts list` say."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from worker.alerts.listing import open_alerts
from worker.doctor.status import jobs_in_broker, overview
from worker.web.auth import Guard, require_all_accounts
from worker.web.context import WebContext
from worker.web.keys import Key
from worker.web.openapi import problem_answers
from worker.web.status_schemas import AlertList, AlertOut, StatusOut


def add_status(router: APIRouter, context: WebContext, guard: Guard) -> None:
    """Add these routes to ``router``."""
    reader = Depends(guard.needs("operate:read"))

    @router.get("/status", tags=["status"], responses=problem_answers())
    def get_status(
        brief: Annotated[
            bool, Query(description="Leave out what takes long with millions of messages: their counts by state.")
        ] = False,
        key: Key = reader,
    ) -> StatusOut:
        """Return the state of connections and accounts, and what waits for a person.

        It reads a lot: ask for it once a minute at most, and ask `/health/live` if the service is alive. A key for
        some accounts gets their part, without what all accounts share: processes, broker, configuration.
        """
        runtime = context.runtime
        found = overview(runtime, brief=brief, accounts=key.accounts).as_json()
        jobs = None if key.accounts else jobs_in_broker(runtime.settings)
        return StatusOut.model_validate(found | {"jobs": jobs})

    @router.get("/alerts", tags=["status"], responses=problem_answers())
    def list_alerts(key: Key = reader) -> AlertList:
        """List the alerts that are open, oldest first. Only for keys of all accounts."""
        require_all_accounts(key, "alerts are about the whole fleet")
        return AlertList(alerts=[AlertOut.model_validate(one) for one in open_alerts(context.runtime)])
