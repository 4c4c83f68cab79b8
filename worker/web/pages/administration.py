"""For admins: users, their sessions, and the audit trail."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from config.sign_in import ROLES, Role
from worker.runtime import Runtime
from worker.store.db import reading, writing
from worker.store.models import utcnow
from worker.web import audit
from worker.web.context import WebContext
from worker.web.pages.gate import Form, Gate, Refused
from worker.web.pages.render import HEADERS, page
from worker.web.sessions import Session, end_session, sessions_of
from worker.web.users import (
    ROLE_HELP,
    UserRefused,
    create_user,
    list_users,
    require_passwords,
    set_disabled,
    set_password,
    set_role,
    set_totp,
)

SHOWN, EXPORTED = 100, 100_000


def routes(context: WebContext, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/ui", include_in_schema=False)
    admin, changes = Depends(gate.reads("admin")), Depends(gate.writes("admin"))

    def show(session: Session, error: str = "") -> Response:
        with reading(context.runtime.engine) as connection:
            values = {"users": list_users(connection), "sessions": sessions_of(connection)}
        passwords = context.runtime.settings.web.passwords
        status = 422 if error else 200
        return page("users.html", session, values, roles=ROLE_HELP, passwords=passwords, error=error, status=status)

    @router.get("/users")
    def users(session: Session = admin) -> Response:
        return show(session)

    @router.post("/users")
    def change(request: Request, fields: Form, session: Session = changes) -> Response:
        try:
            action = _change(context.runtime, fields, session.person.name)
        except UserRefused as error:
            return show(session, str(error))
        gate.note(request, session, action, fields.get("name", ""), fields.get("role", ""))
        return RedirectResponse("/ui/users", 303)

    @router.get("/audit")
    def trail(request: Request, session: Session = admin) -> Response:
        filters = {name: request.query_params.get(name, "").strip()[:200] for name in ("actor", "action", "about")}
        filters["action"] = filters["action"].replace(" ", "_")  # as the page shows it
        before = request.query_params.get("before", "")
        is_export = "export" in request.query_params
        with reading(context.runtime.engine) as connection:
            found = audit.entries(
                connection,
                **filters,
                before=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
                limit=EXPORTED if is_export else SHOWN,
            )
        if is_export:
            return _as_csv(found)
        following = found[-1].id if len(found) == SHOWN else ""
        return page("audit.html", session, entries=found, filters=filters, following=following)

    return router


def _change(runtime: Runtime, fields: Mapping[str, str], by: str) -> str:
    """Make a change of a user and return what it is called in the audit trail. Raises UserRefused."""
    name, what, now = fields.get("name", "").strip(), fields.get("what", ""), utcnow()
    with writing(runtime.engine) as connection:
        match what:
            case "create":
                require_passwords(runtime.settings.web)
                create_user(connection, name, _role(fields), fields.get("password", ""), by=by, now=now)
            case "role":
                set_role(connection, name, _role(fields))
            case "password":
                set_password(connection, name, fields.get("password", ""))
            case "disable" | "enable":
                set_disabled(connection, name, now if what == "disable" else None)
            case "second_factor":
                set_totp(connection, name, None)
            case "session":
                end_session(connection, fields.get("id", ""), name)
            case _:
                raise Refused("this is no change of a user", 400)
    return f"user_{what}"


def _role(fields: Mapping[str, str]) -> Role:
    found = next((role for role in ROLES if role == fields.get("role")), None)
    if found is None:
        raise UserRefused(f"a role is one of {', '.join(ROLES)}")
    return found


def _as_csv(found: list[audit.AuditEntry]) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("at", "actor", "action", "about", "detail", "address"))
    for one in found:
        cells = (one.at.isoformat(), one.actor, one.action, one.about, one.detail, one.address)
        writer.writerow([_no_formula(cell) for cell in cells])
    headers = HEADERS | {"Content-Disposition": 'attachment; filename="audit.csv"'}
    return Response(text.getvalue(), headers=headers, media_type="text/csv; charset=utf-8")


def _no_formula(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula. A number keeps its plus."""
    return f"'{cell}" if cell[:1] in "=@-\t\r" or (cell[:1] == "+" and not cell[1:].isdigit()) else cell
