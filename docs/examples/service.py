"""A web service in which customers order builds and ask what became of them, each seeing only their own.

    pip install 'honua-schema[crypto]' fastapi uvicorn
    DATABASE_URL=postgresql://shop@db.example.com/honua uvicorn service:create_app --factory

Whoever shows a licence key (`Authorization: Bearer ...`) works in the scope of that licence's customer. The
role in DATABASE_URL is a member of honua_app, so row security keeps customers apart: no query below has a
condition on the customer.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import URL, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import selectinload

from honua_schema import customer_scope, licenses, queue
from honua_schema.crypto import hash_license_key
from honua_schema.database import resolve_url, server_message, sqlstate
from honua_schema.models import Architecture, BuildAdmission, BuildQueue, BuildStatus

BUILDS = select(BuildQueue).options(selectinload(BuildQueue.result))
CHECK_VIOLATION = "23514"
STATUS_OF_RULE = {
    "max_builds_per_month": status.HTTP_429_TOO_MANY_REQUESTS,
    "license_allows_builds": status.HTTP_403_FORBIDDEN,
}


class Order(BaseModel):
    """A build that a customer wants."""

    model_config = ConfigDict(extra="forbid")

    manifest: dict[str, Any]
    manifest_path: str = Field("order.json", min_length=1)
    priority: int = Field(5, ge=1, le=10)
    architecture: Architecture = Architecture.AMD64


class Result(BaseModel):
    """What came of a build."""

    model_config = ConfigDict(from_attributes=True)

    success: bool
    actual_duration_seconds: Decimal
    image_digest: str | None
    error_message: str | None


class Build(BaseModel):
    """Where a build stands."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    status: BuildStatus
    admission: BuildAdmission
    priority: int
    architecture: Architecture
    progress_percent: int
    current_step: str | None
    queued_at: datetime
    completed_at: datetime | None
    result: Result | None


class Quota(BaseModel):
    """What a customer's licence allows, and how much of it is used; null is no limit."""

    model_config = ConfigDict(from_attributes=True)

    max_builds_per_month: int | None
    builds_this_month: int
    remaining_builds: int | None
    max_concurrent_builds: int | None
    current_concurrent_builds: int


class Refusal(BaseModel):
    """Why an order was refused."""

    rule: str
    detail: str


@dataclass(frozen=True)
class Tenant:
    """The customer who is asking, with a session in which only this customer's rows exist."""

    customer_id: str
    session: AsyncSession


async def enter_scope(
    request: Request, shown: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> AsyncIterator[Tenant]:
    """Work in one transaction, in the scope of the customer whose licence key is shown."""
    async with AsyncSession(request.app.state.engine) as session, session.begin():
        key_hash = hash_license_key(shown.credentials)
        customer_id = await licenses.find_license_customer(session, key_hash)
        if customer_id is None:
            raise HTTPException(
                status.HTTP_401_UNAUTHORIZED,
                "No licence in force has this key.",
                {"WWW-Authenticate": "Bearer"},
            )
        async with customer_scope(session, customer_id):
            yield Tenant(customer_id, session)


# The scope "function" ends, and so commits, before the answer is sent.
Asking = Annotated[Tenant, Depends(enter_scope, scope="function")]


def create_app(url: str | URL | None = None) -> FastAPI:
    """Return the service.

    Args:
        url: The database; what the environment says by default.
    """
    engine = create_async_engine(resolve_url(url), pool_pre_ping=True)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.dispose()

    app = FastAPI(title="Honua builds", lifespan=lifespan)
    app.state.engine = engine
    app.add_exception_handler(IntegrityError, explain_refusal)
    app.add_exception_handler(DataError, explain_bad_value)
    app.add_exception_handler(RequestValidationError, explain_bad_request)
    app.post("/builds", status_code=status.HTTP_201_CREATED, responses={429: {"model": Refusal}})(order_build)
    app.get("/builds")(list_builds)
    app.get("/builds/{build_id}")(show_build)
    app.post("/builds/{build_id}/cancel")(cancel_build)
    app.get("/quota")(show_quota)
    return app


async def order_build(
    order: Order,
    asking: Asking,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Build:
    """Queue a build. The same order under the same idempotency key is queued once."""
    manifest = json.dumps(order.manifest, sort_keys=True)
    ordered = {
        "manifest_path": order.manifest_path,
        "manifest_hash": hashlib.sha256(manifest.encode()).hexdigest(),
        "priority": order.priority,
        "architecture": order.architecture,
    }
    add = insert(BuildQueue).values(
        customer_id=asking.customer_id,
        manifest_json=order.manifest,
        idempotency_key=idempotency_key,
        **ordered,
    )
    # Without a key nothing can be in the way.
    build_id = await asking.session.scalar(add.on_conflict_do_nothing().returning(BuildQueue.id))
    if build_id is None:
        same_key = BUILDS.filter_by(idempotency_key=idempotency_key)
        earlier = (await asking.session.scalars(same_key)).one()
        if any(getattr(earlier, name) != value for name, value in ordered.items()):
            raise HTTPException(
                status.HTTP_422_UNPROCESSABLE_CONTENT, "This idempotency key belongs to another order."
            )
        build_id, response.status_code = earlier.id, status.HTTP_200_OK
    response.headers["Location"] = f"/builds/{build_id}"
    return await show_build(build_id, asking)


async def list_builds(
    asking: Asking,
    state: Annotated[BuildStatus | None, Query(alias="status")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[Build]:
    """Return the newest builds."""
    wanted = BUILDS.filter_by(status=state) if state else BUILDS
    found = await asking.session.scalars(wanted.order_by(BuildQueue.queued_at.desc()).limit(limit))
    return [Build.model_validate(build) for build in found]


async def show_build(build_id: UUID, asking: Asking) -> Build:
    """Return a build. One of somebody else is not found, as if it did not exist."""
    build = await asking.session.scalar(BUILDS.filter_by(id=build_id))
    if build is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such build.")
    return Build.model_validate(build)


async def cancel_build(build_id: UUID, asking: Asking) -> Build:
    """Cancel a build that is queued or running."""
    cancelled = await queue.cancel_build(asking.session, build_id, "cancelled by the customer")
    build = await show_build(build_id, asking)
    if not cancelled:
        raise HTTPException(status.HTTP_409_CONFLICT, f"The build has ended: {build.status}.")
    return build


async def show_quota(asking: Asking) -> Quota:
    """Return what the customer's licence allows, and how much of it is used."""
    return Quota.model_validate(await licenses.get_license_quota_usage(asking.session, asking.customer_id))


async def explain_refusal(_: Request, error: Exception) -> Response:
    """Answer with the name of the rule that the database kept."""
    if not isinstance(error, IntegrityError) or sqlstate(error) != CHECK_VIOLATION:
        raise error
    rule = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    refusal = Refusal(rule=rule, detail=server_message(error))
    return JSONResponse(refusal.model_dump(), STATUS_OF_RULE.get(rule, status.HTTP_409_CONFLICT))


async def explain_bad_request(_: Request, error: Exception) -> Response:
    """Answer what is wrong with a request, without repeating what was sent: it may be no text at all."""
    if not isinstance(error, RequestValidationError):
        raise error
    wrong = [{"loc": each["loc"], "msg": each["msg"]} for each in error.errors()]
    return JSONResponse({"detail": wrong}, status.HTTP_422_UNPROCESSABLE_CONTENT)


async def explain_bad_value(_: Request, error: Exception) -> Response:
    """Answer that a value can't be stored, such as a text with a zero byte."""
    return JSONResponse({"detail": server_message(error)}, status.HTTP_422_UNPROCESSABLE_CONTENT)
