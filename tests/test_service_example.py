"""The web service of docs/examples, over HTTP, with a real database behind it."""

from __future__ import annotations

import asyncio
import importlib.util
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import builders
from honua_schema.crypto import hash_license_key
from honua_schema.security import customer_scope
from queries import row, value, values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    import psycopg
    from sqlalchemy import URL

    Connection = psycopg.Connection[Any]

FILE = Path(__file__).parents[1] / "docs" / "examples" / "service.py"
LOGIN = "service_of_the_examples"
ORDER = {"manifest": {"modules": ["ogc-api"], "cloud": "aws"}}


@pytest.fixture(scope="module")
def service() -> Any:
    """The module of the service."""
    spec = importlib.util.spec_from_file_location("service", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def login(connection: Connection, database: URL) -> Iterator[URL]:
    """The database, for a member of honua_app."""
    connection.execute(f"CREATE ROLE {LOGIN} LOGIN IN ROLE honua_app".encode())
    yield database.set(username=LOGIN)
    connection.execute(f"DROP ROLE {LOGIN}".encode())


class Customers:
    """Two customers, and the headers with which they ask."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.atlas = self.add("atlas")
        self.borealis = self.add("borealis")

    def add(self, customer: str, **limits: Any) -> dict[str, str]:
        key = f"key of {customer}"
        builders.add_customer(self.connection, customer)
        builders.add_license(self.connection, customer, license_key_hash=hash_license_key(key), **limits)
        return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def customers(connection: Connection) -> Customers:
    return Customers(connection)


@pytest.fixture
def serve(service: Any, login: URL) -> Callable[[Callable[[httpx.AsyncClient], Awaitable[None]]], None]:
    """Run a conversation with the service."""

    @asynccontextmanager
    async def client() -> AsyncIterator[httpx.AsyncClient]:
        app = service.create_app(login)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as opened,
        ):
            yield opened

    def run(talk: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
        async def conversation() -> None:
            async with client() as opened:
                await talk(opened)

        asyncio.run(conversation())

    return run


def test_an_order_is_queued_claimed_and_its_result_reported(
    serve: Any, customers: Customers, connection: Connection
) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        answer = await client.post("/builds", json=ORDER | {"priority": 8}, headers=customers.atlas)
        assert answer.status_code == 201
        build = answer.json()
        assert (build["status"], build["admission"], build["priority"]) == ("queued", "ready", 8)
        stored = row(connection, "SELECT * FROM build_queue")
        assert (str(stored.id), stored.customer_id) == (build["id"], "atlas")
        assert (stored.manifest_json, len(stored.manifest_hash)) == (ORDER["manifest"], 64)

        connection.execute("SELECT get_next_build_for_worker('worker-1', 'host', 'amd64')")
        connection.execute("SELECT update_build_progress(%s, 40, 'compile')", [stored.id])
        running = (await client.get(answer.headers["Location"], headers=customers.atlas)).json()
        assert (running["status"], running["progress_percent"], running["current_step"]) == (
            "building", 40, "compile",
        )  # fmt: skip
        assert running["result"] is None

        digest = f"sha256:{'0' * 64}"
        connection.execute(
            "SELECT complete_build(%s, 'worker-1', 0, true, 93.5, p_image_digest => %s)", [stored.id, digest]
        )
        ended = (await client.get(answer.headers["Location"], headers=customers.atlas)).json()
        assert ended["status"] == "success"
        assert (ended["result"]["image_digest"], ended["result"]["success"]) == (digest, True)

    serve(talk)


def test_customers_see_and_cancel_their_own_builds_only(
    serve: Any, customers: Customers, connection: Connection
) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        ours = (await client.post("/builds", json=ORDER, headers=customers.atlas)).json()
        theirs = (await client.post("/builds", json=ORDER, headers=customers.borealis)).json()

        for path, method in ((f"/builds/{ours['id']}", "GET"), (f"/builds/{ours['id']}/cancel", "POST")):
            wrong = await client.request(method, path, headers=customers.borealis)
            absent = await client.request(
                method, path.replace(ours["id"], str(uuid.uuid4())), headers=customers.borealis
            )
            assert (wrong.status_code, wrong.json()) == (absent.status_code, absent.json())
            assert wrong.status_code == 404
        listed = (await client.get("/builds", headers=customers.borealis)).json()
        assert [build["id"] for build in listed] == [theirs["id"]]
        assert values(connection, "SELECT status FROM build_queue") == ["queued", "queued"]

    serve(talk)


def test_a_build_is_cancelled_once(serve: Any, customers: Customers, connection: Connection) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        build = (await client.post("/builds", json=ORDER, headers=customers.atlas)).json()
        path = f"/builds/{build['id']}/cancel"
        assert (await client.post(path, headers=customers.atlas)).json()["status"] == "cancelled"
        again = await client.post(path, headers=customers.atlas)
        assert (again.status_code, again.json()) == (409, {"detail": "The build has ended: cancelled."})
        cancelled = (await client.get("/builds?status=cancelled", headers=customers.atlas)).json()
        assert [each["id"] for each in cancelled] == [build["id"]]
        assert (await client.get("/builds?status=queued", headers=customers.atlas)).json() == []

    serve(talk)
    assert values(connection, "SELECT status FROM build_queue") == ["cancelled"]


def test_an_order_over_the_quota_is_refused_with_the_name_of_the_rule(
    serve: Any, customers: Customers, connection: Connection
) -> None:
    cello = customers.add("cello", max_builds_per_month=1)

    async def talk(client: httpx.AsyncClient) -> None:
        assert (await client.post("/builds", json=ORDER, headers=cello)).status_code == 201
        refused = await client.post("/builds", json=ORDER, headers=cello)
        assert (refused.status_code, refused.json()["rule"]) == (429, "max_builds_per_month")
        assert "cello has used its quota of 1 builds" in refused.json()["detail"]
        quota = (await client.get("/quota", headers=cello)).json()
        assert (quota["builds_this_month"], quota["remaining_builds"]) == (1, 0)
        assert (await client.post("/builds", json=ORDER, headers=customers.atlas)).status_code == 201

    serve(talk)
    assert value(connection, "SELECT count(*) FROM build_queue WHERE customer_id = 'cello'") == 1


def test_a_licence_that_ends_while_the_order_is_under_way_is_named_as_the_reason(
    serve: Any, service: Any, customers: Customers, connection: Connection, login: URL
) -> None:
    customers.add("lapsed", status="expired")

    async def conversation() -> None:
        app = service.create_app(login)

        async def enter_scope() -> AsyncIterator[Any]:
            async with (
                service.AsyncSession(app.state.engine) as session,
                session.begin(),
                customer_scope(session, "lapsed"),
            ):
                yield service.Tenant("lapsed", session)

        app.dependency_overrides[service.enter_scope] = enter_scope
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as client,
        ):
            refused = await client.post("/builds", json=ORDER)
            assert (refused.status_code, refused.json()["rule"]) == (403, "license_allows_builds")

    asyncio.run(conversation())
    assert value(connection, "SELECT count(*) FROM build_queue") == 0


def test_the_same_order_sent_twice_is_queued_once_even_when_the_quota_is_used_up(
    serve: Any, customers: Customers, connection: Connection
) -> None:
    cello = customers.add("cello", max_builds_per_month=1) | {"Idempotency-Key": "order-1"}

    async def talk(client: httpx.AsyncClient) -> None:
        first = await client.post("/builds", json=ORDER, headers=cello)
        again = await client.post("/builds", json=ORDER, headers=cello)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json() == again.json()
        other = await client.post("/builds", json={"manifest": {"modules": []}}, headers=cello)
        assert (other.status_code, "another order" in other.json()["detail"]) == (422, True)
        same_key = customers.atlas | {"Idempotency-Key": "order-1"}
        assert (await client.post("/builds", json=ORDER, headers=same_key)).status_code == 201

    serve(talk)
    assert value(connection, "SELECT count(*) FROM build_queue WHERE customer_id = 'cello'") == 1


def test_an_order_sent_many_times_at_once_is_queued_once(
    serve: Any, customers: Customers, connection: Connection
) -> None:
    headers = customers.atlas | {"Idempotency-Key": "order-1"}

    async def talk(client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(
            *(client.post("/builds", json=ORDER, headers=headers) for _ in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1

    serve(talk)
    assert value(connection, "SELECT count(*) FROM build_queue") == 1


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic a2V5"}], ids=str
)
def test_nobody_gets_in_without_the_key_of_a_licence_in_force(
    serve: Any, customers: Customers, connection: Connection, headers: dict[str, str]
) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        for method, path in (("GET", "/builds"), ("POST", "/builds"), ("GET", "/quota")):
            answer = await client.request(method, path, json=ORDER, headers=headers)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")

    serve(talk)
    assert value(connection, "SELECT count(*) FROM build_queue") == 0


def test_a_licence_that_has_ended_lets_nobody_in(serve: Any, customers: Customers) -> None:
    issued = datetime.now(UTC) - timedelta(days=2)
    ended = customers.add("ended", issued_at=issued, expires_at=issued + timedelta(days=1))

    async def talk(client: httpx.AsyncClient) -> None:
        assert (await client.get("/builds", headers=ended)).status_code == 401

    serve(talk)


BAD_ORDERS = {
    "no manifest": "{}",
    "a manifest that is no object": '{"manifest": [1]}',
    "a priority of 11": '{"manifest": {}, "priority": 11}',
    "an unknown architecture": '{"manifest": {}, "architecture": "sparc"}',
    "an unknown field": '{"manifest": {}, "worker_id": "me"}',
    "a zero byte in the manifest": r'{"manifest": {"a": "\u0000"}}',
    "a zero byte in the path": r'{"manifest": {}, "manifest_path": "a\u0000b"}',
    "half a character in the manifest": r'{"manifest": {"a": "\ud800"}}',
    "half a character in the path": r'{"manifest": {}, "manifest_path": "\ud800"}',
    "a number that is none": '{"manifest": {"a": NaN}}',
    "no JSON": "order",
}


@pytest.mark.parametrize("body", BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_a_bad_order_is_refused_and_queues_nothing(
    serve: Any, customers: Customers, connection: Connection, body: str
) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        headers = customers.atlas | {"Content-Type": "application/json"}
        answer = await client.post("/builds", content=body, headers=headers)
        assert (answer.status_code, bool(answer.json()["detail"])) == (422, True)

    serve(talk)
    assert value(connection, "SELECT count(*) FROM build_queue") == 0


@pytest.mark.parametrize("key", ["", "k" * 256], ids=["empty", "too long"])
def test_a_bad_idempotency_key_is_refused(
    serve: Any, customers: Customers, connection: Connection, key: str
) -> None:
    async def talk(client: httpx.AsyncClient) -> None:
        headers = customers.atlas | {"Idempotency-Key": key}
        assert (await client.post("/builds", json=ORDER, headers=headers)).status_code == 422

    serve(talk)
    assert value(connection, "SELECT count(*) FROM build_queue") == 0
