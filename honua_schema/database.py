"""Where the database is, and how to connect to it."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, NullPool, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from honua_schema import locking
from honua_schema.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DRIVER = "postgresql+psycopg"
DEFAULTS = {"PG_HOST": "localhost", "PG_PORT": "5432", "PG_DATABASE": "honua", "PG_USER": "postgres"}
# What libpq and psycopg say around the reason; where the server is, our messages say themselves.
CLIENT_PHRASES = re.compile(
    r"^(connection (failed|is bad): )?(connection to server (at|on socket) .*? failed: )?(FATAL: +)?"
    r"|( Is the server running .*)$"
)
# What libpq and psycopg say of a setting that no server would help; else of a server that can't be reached.
WRONG_SETTING = re.compile(
    r"invalid \w+ value|invalid port number|invalid integer value|bad value for|could not parse"
    r"|service .* not found|unrecognized configuration parameter|invalid value for parameter"
    r"|invalid command-line argument"
)
OUT_OF_REACH = re.compile(
    r"refused|No such file|timeout|timed out|resolve|translate host|unreachable|No route"
    r"|closed the connection|reset by peer"
)
EXAMPLE_URL = "postgresql://user:password@localhost:5432/honua"
INSUFFICIENT_PRIVILEGE = "42501"
# Arguments of psycopg's own connect(), which can do nothing with the text that a URL has for them.
OPTIONS_OF_PSYCOPG = {"autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory"}
_begin_as_always = locking.beginning_with(locking.ALWAYS_THE_SAME)


def resolve_url(
    url: str | URL | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    database: str | None = None,
    user: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> URL:
    """Find the database to work on.

    The first that is given counts: ``url``, ``DATABASE_URL``, then part by part ``PG_HOST``, ``PG_PORT``,
    ``PG_DATABASE``, ``PG_USER`` and ``PG_PASSWORD``, then the variables of libpq (``PGHOST`` and so on), then
    localhost, 5432, honua and postgres. The other arguments replace their part of whatever was found.

    Args:
        url: A database URL; its driver, if it names one, is replaced by psycopg.
        host: Name or address of the server, or the folder of its socket.
        port: Port of the server.
        database: Name of the database.
        user: Role to connect as.
        environment: Variables to look at.

    Raises:
        UsageError: The URL or the port cannot be read, or the URL is not for PostgreSQL.
    """
    if url:
        resolved = _parse_url(url, "The database URL")
    elif environment.get("DATABASE_URL"):
        resolved = _parse_url(environment["DATABASE_URL"], "DATABASE_URL")
    else:
        resolved = _url_of_parts(environment)
    if host and "host" in resolved.query:
        resolved = resolved.difference_update_query(["host"])
    return resolved.set(host=host or None, port=port, database=database or None, username=user or None)


def _parse_url(url: str | URL, origin: str) -> URL:
    """Read a URL; messages name its origin and not its text, which may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The cause quotes the URL; it stays out of the chain of errors.
        raise UsageError(
            f"{origin} cannot be read as a database URL.",
            f"It should look like {EXAMPLE_URL}, with %40 for an @ in the password.",
        ) from None
    kind = parsed.get_backend_name()
    if kind not in {"postgresql", "postgres"}:
        raise UsageError(
            f"{origin} names a {kind} database; this schema needs PostgreSQL.",
            f"It should look like {EXAMPLE_URL}.",
        )
    return parsed.set(drivername=DRIVER)


def _url_of_parts(environment: Mapping[str, str]) -> URL:
    # A service file may hold any part: defaults of ours would override it.
    defaults = {} if environment.get("PGSERVICE") else DEFAULTS

    def part(name: str) -> tuple[str, str | None]:
        for variable in (name, name.replace("_", "")):
            if value := environment.get(variable):
                return variable, value
        return name, defaults.get(name)

    port_variable, port = part("PG_PORT")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(
            f"{port_variable} is {port!r}, which is not a port number.", "Set it to a number such as 5432."
        )
    return URL.create(
        DRIVER,
        username=part("PG_USER")[1],
        password=environment.get("PG_PASSWORD") or None,  # else libpq looks at PGPASSWORD and ~/.pgpass
        host=part("PG_HOST")[1],
        port=int(port) if port else None,
        database=part("PG_DATABASE")[1],
    )


def create_engine(url: str | URL | None = None) -> Engine:
    """Create an engine whose connections are closed when they are given back, `with_our_settings`.

    Args:
        url: As in `resolve_url`.

    Raises:
        SchemaError: As in `resolve_url`, or the URL has an option that is none of PostgreSQL's, or hosts and
            ports that do not go together.
    """
    resolved = resolve_url(url)
    if options := sorted(OPTIONS_OF_PSYCOPG.intersection(resolved.query)):
        raise SchemaError(
            f"The database URL has an option that PostgreSQL does not know: {', '.join(options)}",
            "Remove it from the URL.",
        )
    settings = {
        "application_name": "honua-schema",
        "client_encoding": "utf8",  # in some encodings PostgreSQL says nothing that Python can read as text
        "connect_timeout": 10,
        "prepare_threshold": None,  # PgBouncer may serve each transaction from another session
    }
    try:
        engine = sqlalchemy.create_engine(
            resolved,
            poolclass=NullPool,
            connect_args={name: value for name, value in settings.items() if name not in resolved.query},
        )
    except ArgumentError as error:
        raise UsageError(
            f"The database URL has hosts or ports that cannot be read: {error}",
            "Give each host a port, as in ?host=one,two&port=5432,5433",
        ) from error
    return with_our_settings(engine)


def with_our_settings(engine: Engine) -> Engine:
    """Return an engine with the same connections, whose transactions begin with our settings.

    Args:
        engine: The engine, which stays as it is.
    """
    if event.contains(engine, "begin", _begin_as_always):
        return engine
    ours = engine.execution_options()
    event.listen(ours, "begin", _begin_as_always)
    return ours


@contextmanager
def connect(engine: Engine) -> Iterator[Connection]:
    """Open a connection, and say what to do when that fails.

    Its transactions are `with_our_settings`, and READ COMMITTED, even if the engine has others or none.

    Args:
        engine: Where to connect.

    Raises:
        SchemaError: No server answers, it refuses the connection, or the engine is for another database.
    """
    _refuse_other_databases(engine)
    try:
        connection = with_our_settings(engine).connect()
    except SQLAlchemyError as error:
        raise explain_connection_failure(error, engine.url) from error
    with connection:
        yield connection.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def lent(connection: Connection) -> Iterator[None]:
    """Use a connection of somebody else, with our settings, and leave it as it was.

    Args:
        connection: The connection. If a transaction has begun on it, that goes on.

    Raises:
        SchemaError: It is closed, or to another database than PostgreSQL.
    """
    _refuse_other_databases(connection)
    if connection.closed:
        raise SchemaError("The connection is closed.", "Pass one that is open, or an engine.")
    of_caller = connection.in_transaction()
    with locking.transaction_settings(connection, locking.ALWAYS_THE_SAME):
        try:
            yield
        finally:
            # What is left open would be taken for the caller's transaction next time, and not be committed.
            if not of_caller:
                connection.rollback()


def _refuse_other_databases(connectable: Connection | Engine) -> None:
    if connectable.dialect.name != "postgresql":
        raise SchemaError(
            f"The connection is to a {connectable.dialect.name} database; this schema needs PostgreSQL.",
            f"Pass an engine or a connection that has a URL such as {EXAMPLE_URL}.",
        )


@contextmanager
def translated_errors(what: str) -> Iterator[None]:
    """Report an error of the server as one message.

    Args:
        what: What failed.
    """
    try:
        yield
    except DBAPIError as error:
        remedy = ""
        if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
            remedy = (
                "Connect as the owner of the tables, or as a role that may: honua-schema roles lists them."
            )
        raise SchemaError(f"{what}: {server_message(error)}", remedy) from error


def explain_connection_failure(error: SQLAlchemyError, url: URL) -> SchemaError:
    """Say which connection failed, why, and what to do.

    Args:
        error: What connecting raised.
        url: What was connected to.
    """
    reason = server_message(error)
    if url.password:
        reason = reason.replace(str(url.password), "***")
    server = describe_server(url)
    host, port = server_location(url)
    options = "".join(
        f"{option} {value} " for option, value in (("-h", host), ("-p", port), ("-U", url.username)) if value
    )
    match reason:
        case _ if "password authentication failed" in reason or "no password supplied" in reason:
            return SchemaError(
                f"PostgreSQL at {server} refused the password of {url.username}: {reason}",
                "Set PG_PASSWORD, or put the password into DATABASE_URL or ~/.pgpass.",
            )
        case _ if f'database "{url.database}" does not exist' in reason:
            return SchemaError(
                f"There is no database {url.database} on {server}.",
                f"Create it with: createdb {options}{url.database}",
            )
        case _ if f'role "{url.username}" does not exist' in reason:
            return SchemaError(
                f"There is no role {url.username} on {server}.",
                "Set PG_USER to a role that exists, or create it with createuser.",
            )
        case _ if "no pg_hba.conf entry" in reason:
            return SchemaError(
                f"PostgreSQL at {server} does not admit this connection: {reason}",
                "Ask its administrator for an entry in pg_hba.conf.",
            )
        case _ if (
            "too many clients" in reason
            or "remaining connection slots" in reason
            or "too many connections" in reason
        ):
            return SchemaError(
                f"PostgreSQL at {server} has no free connection: {reason}",
                "Try again later, or raise max_connections.",
            )
        case _ if "starting up" in reason or "shutting down" in reason or "recovery" in reason:
            return SchemaError(f"PostgreSQL at {server} is not ready: {reason}", "Try again in a moment.")
        case _ if "invalid connection option" in reason or "invalid URI query" in reason:
            return SchemaError(
                f"The database URL has an option that PostgreSQL does not know: {reason}",
                "Remove it from the URL.",
            )
        case _ if WRONG_SETTING.search(reason):
            return SchemaError(
                f"A setting of the connection to PostgreSQL at {server} is wrong: {reason}",
                "Correct it in the database URL, or in the variable of libpq that it comes from: "
                "PGSSLMODE, PGSERVICE, PGOPTIONS and so on.",
            )
        case _ if "does not support SSL" in reason:
            return SchemaError(
                f"PostgreSQL at {server} does not encrypt connections, and this one has to be: {reason}",
                "Turn on ssl in the server; or, if nobody can listen on the way to it, leave out sslmode in "
                "the database URL, and PGSSLMODE.",
            )
    remedy = (
        "Start the server, or say where it is with DATABASE_URL, or PG_HOST and PG_PORT. "
        "To try the schema without a server: honua-schema demo"
    )
    return SchemaError(
        f"Cannot connect to PostgreSQL at {server}: {reason}",
        remedy if OUT_OF_REACH.search(reason) else "",  # what else there is, the reason says itself
    )


def describe_server(url: URL) -> str:
    """Return where a server is, as host and port or as the folder of its socket.

    Args:
        url: A database on the server.
    """
    host, port = server_location(url)
    return f"{host}:{port or 5432}" if host else "the default host of libpq"


def server_location(url: URL) -> tuple[str | None, str | None]:
    """Return host and port of a URL, which may be in its query; a folder cannot be anywhere else.

    Args:
        url: A database.
    """
    host, port = url.query.get("host", url.host), url.query.get("port", url.port)
    return None if host is None else str(host), None if port is None else str(port)


def server_message(error: BaseException) -> str:
    """Return what PostgreSQL or its client library said, on one line and each reason once.

    libpq tries some servers twice, with encryption and without.

    Args:
        error: An error of SQLAlchemy or psycopg.
    """
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    diagnosis = getattr(cause, "diag", None)
    text = (
        getattr(diagnosis, "message_primary", None) or str(cause).partition("Multiple connection attempts")[0]
    )
    attempts = re.split(r"\n(?=connection to server )", text)
    return "; ".join(dict.fromkeys(CLIENT_PHRASES.sub("", " ".join(each.split())) for each in attempts))


def sqlstate(error: BaseException) -> str | None:
    """Return the five-character code of a server's error, such as 55P03, or None.

    Args:
        error: An error of SQLAlchemy or psycopg.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None)
