"""Databases for the tests, on a PostgreSQL server of their own.

Each pytest process starts one server and upgrades one database to head, the template; a test that asks for a
database gets a copy of the template, dropped when the test ends. The programs are the embedded ones, or those
of ``--pg-bin``.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
import sqlalchemy
from psycopg import sql
from psycopg.rows import namedtuple_row
from pytest_postgresql import factories
from sqlalchemy import URL, Engine

from honua_schema.embedded import EmbeddedServer, embedded_programs
from honua_schema.errors import SchemaError
from honua_schema.runner import MigrationRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Connection = psycopg.Connection[Any]

SHARED_SERVER_SETTINGS = {
    "autovacuum": "off",  # it would keep the template from being copied at times
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "shared_buffers": "64MB",
    "synchronous_commit": "off",
    # So far from UTC that a day or month taken from the session's time zone is a wrong one most of the time.
    "timezone": "Pacific/Kiritimati",
}
SPACE_FOR_A_SERVER = 2 * 1024**3  # bytes

_database_numbers = itertools.count(1)


class NewDatabase(Protocol):
    """Makes databases that are dropped once the test has ended."""

    def __call__(self, *, empty: bool = False) -> URL:
        """Return the URL of a new database: at head, or with nothing in it."""


class Connect(Protocol):
    """Opens connections that are closed when the test ends."""

    def __call__(self, database: URL | None = None, *, autocommit: bool = True) -> Connection:
        """Return a connection to a database, by default to the test's ``database``."""


class PrivateServer(Protocol):
    """Makes servers that are removed when the test ends."""

    def __call__(self, settings: Mapping[str, str] = ...) -> EmbeddedServer:
        """Return a running server with the default settings, except those given."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--pg-bin``."""
    parser.addoption(
        "--pg-bin",
        metavar="DIR",
        type=Path,
        help="test on the PostgreSQL programs in DIR: --pg-bin=/usr/lib/postgresql/15/bin",
    )


def pytest_configure() -> None:
    """Forget the databases that the environment names, and clean up even when the tests are ended."""
    for name in list(os.environ):
        if name.startswith("PG") or name == "DATABASE_URL":
            del os.environ[name]
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    """Name the server under test."""
    programs = config.getoption("pg_bin") or embedded_programs()
    version = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    return f"server: {version.stdout.strip()}, {programs}"


@pytest.fixture(scope="session")
def bin_folder(pytestconfig: pytest.Config) -> Path | None:
    """The folder of ``--pg-bin``, None for the embedded programs."""
    folder: Path | None = pytestconfig.getoption("pg_bin")
    return folder


@pytest.fixture(scope="session")
def programs(bin_folder: Path | None) -> Path:
    """The folder of the programs under test, with psql and pg_dump among them."""
    return bin_folder or embedded_programs()


@pytest.fixture(scope="session")
def dump_schema(programs: Path) -> Callable[[URL], str]:
    """Write down the schema of a database as SQL, without Alembic's own table."""

    def dump(database: URL) -> str:
        finished = subprocess.run(
            [programs / "pg_dump", "--schema-only", "--exclude-table=alembic_version",
             "--host", str(database.query["host"]), "--port", str(database.query.get("port", 5432)),
             "--username", str(database.username), str(database.database)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        # Newer pg_dumps guard the script with a random word.
        return re.sub(r"^\\(un)?restrict .*\n", "", finished.stdout, flags=re.MULTILINE)

    return dump


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for servers, which the system user who runs them for root can enter."""
    folder = _new_folder()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def private_server(bin_folder: Path | None) -> Iterator[PrivateServer]:
    """Make servers for one test to stop, kill and start again: what they commit survives (fsync is on)."""
    with ExitStack() as cleanup:

        def start(settings: Mapping[str, str] = {}) -> EmbeddedServer:
            server = EmbeddedServer(_new_folder(), bin_folder=bin_folder, settings=settings)
            cleanup.callback(server.remove)
            return cleanup.enter_context(server)

        yield start


class SharedServer(EmbeddedServer):
    """A server with the attributes that pytest-postgresql asks for."""

    password = None
    options = ""
    maintenance_dbname = "postgres"
    template_dbname = "template1"


@pytest.fixture(scope="session")
def postgresql_server(bin_folder: Path | None) -> Iterator[SharedServer]:
    """The server that all tests of this process share."""
    _remove_leftovers(bin_folder)
    server = SharedServer(_new_folder(), bin_folder=bin_folder, settings=SHARED_SERVER_SETTINGS)
    try:
        with server:
            yield server
    finally:
        server.remove()


def upgrade_to_head(*, host: str, port: int, user: str, dbname: str, **_: object) -> None:
    """Bring the template database to head."""
    query = {"host": host, "port": str(port)}
    url = URL.create("postgresql+psycopg", username=user, database=dbname, query=query)
    result = MigrationRunner(url).apply_migrations()
    assert result.success, "\n".join(result.errors)


postgresql_noproc = factories.postgresql_noproc(depends_on="postgresql_server", load=[upgrade_to_head])
postgresql = factories.postgresql("postgresql_noproc")


@pytest.fixture(scope="session")
def server_version(postgresql_server: SharedServer) -> int:
    """The server's version as a number, such as 180006."""
    with _connect(postgresql_server.url("postgres")) as connection:
        return connection.info.server_version


@pytest.fixture(scope="session")
def _administration(postgresql_server: SharedServer) -> Iterator[Connection]:
    """A connection that creates and drops databases."""
    with _connect(postgresql_server.url("postgres")) as connection:
        yield connection


@pytest.fixture(scope="session")
def _used_databases() -> list[sql.Identifier]:
    """The databases of the tests that have ended."""
    return []


@pytest.fixture
def new_database(
    request: pytest.FixtureRequest,
    postgresql_server: SharedServer,
    _administration: Connection,
    _used_databases: list[sql.Identifier],
) -> Iterator[NewDatabase]:
    """Make databases, as many as the test needs."""
    made: list[sql.Identifier] = []

    def create(*, empty: bool = False) -> URL:
        template = "template1" if empty else request.getfixturevalue("postgresql_noproc").template_dbname
        name = f"test_{next(_database_numbers)}"
        # Copying files takes half the time of the default strategy for a database as small as this.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        _administration.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        made.append(sql.Identifier(name))
        # Not when their test ends: the server takes a moment to end its connections, and would wait 0.1 s.
        while _used_databases:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_used_databases.pop())
            _administration.execute(drop)
        return postgresql_server.url(name)

    yield create
    _used_databases.extend(made)


@pytest.fixture
def empty_database(new_database: NewDatabase) -> URL:
    """The URL of a new database with nothing in it."""
    return new_database(empty=True)


@pytest.fixture
def database(new_database: NewDatabase) -> URL:
    """The URL of a new database at head."""
    return new_database()


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Open connections, as many as the test needs."""
    with ExitStack() as cleanup:

        def open_connection(database: URL | None = None, *, autocommit: bool = True) -> Connection:
            connection = _connect(database or request.getfixturevalue("database"), autocommit=autocommit)
            cleanup.callback(connection.close)
            return connection

        yield open_connection


@pytest.fixture
def connection(connect: Connect) -> Connection:
    """A connection to ``database``: each statement commits, and a row's columns are its attributes."""
    return connect()


@pytest.fixture
def engine(database: URL) -> Iterator[Engine]:
    """An SQLAlchemy engine for ``database``."""
    engine = sqlalchemy.create_engine(database)
    yield engine
    engine.dispose()


def _connect(database: URL, *, autocommit: bool = True) -> Connection:
    uri = database.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(uri, autocommit=autocommit, row_factory=namedtuple_row)


def _parent_folder() -> Path:
    """Return a folder in memory if it has room: databases are created ten times faster there."""
    memory = Path("/dev/shm")
    if memory.is_dir():
        status = os.statvfs(memory)
        if status.f_bavail * status.f_frsize >= SPACE_FOR_A_SERVER and not status.f_flag & os.ST_NOEXEC:
            return memory
    return Path(tempfile.gettempdir())


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="honua-tests-", dir=_parent_folder()))


def _remove_leftovers(bin_folder: Path | None) -> None:
    """Remove the servers of tests that were killed: those that no process uses any more."""
    for folder in _parent_folder().glob("honua-tests-*"):
        with suppress(OSError, SchemaError), (folder / "users").open() as users:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            EmbeddedServer(folder, bin_folder=bin_folder).remove()
