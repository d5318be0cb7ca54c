"""The embedded PostgreSQL starts whatever happened before, and is stopped by the last who used it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from config import database
from config.database import FAST, Account, Cluster, EmbeddedServerError, held, throwaway
from tests.processes import ROOT, eventually, running

HOLD = """
from pathlib import Path
from config.database import FAST, Cluster, held, throwaway
with {user} as cluster:
    print("up", cluster.data, flush=True)
    input()
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that the server's account may enter, unlike pytest's own when the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="parley-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def one(cluster: Cluster, query: str) -> object:
    with psycopg.connect(cluster.url) as connection:
        row = connection.execute(query).fetchone()  # type: ignore[arg-type]
        assert row
        return row[0]


def postmaster(cluster: Cluster) -> psutil.Process:
    return psutil.Process(int((cluster.data / "postmaster.pid").read_text().split()[0]))


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_data_outlives_the_server(home: Path) -> None:
    with held(Cluster(home / "pg", FAST)) as cluster:
        with psycopg.connect(cluster.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server = postmaster(cluster)
    eventually(lambda: gone(server), "the server stops with its last user")
    with held(Cluster(home / "pg", FAST)) as cluster:
        assert one(cluster, "SELECT answer FROM kept") == 42


def test_it_sorts_and_folds_cyrillic_the_same_on_every_machine(home: Path) -> None:
    with held(Cluster(home / "pg", FAST)) as cluster:
        assert one(cluster, "SELECT upper('ёжик') || ('привет' ILIKE 'ПРИВЕТ')::text") == "ЁЖИКtrue"
        assert one(cluster, "SHOW listen_addresses") == ""


@pytest.mark.parametrize(
    "name", ["with spaces, and 'quotes'", "очень-длинный-путь/" + "x" * 90 + "/" + "y" * 90], ids=["odd", "long"]
)
def test_any_folder_will_do(home: Path, name: str) -> None:
    """Unix sockets have a 107-byte limit, and option strings have their own ideas about spaces."""
    with held(Cluster(home / name, FAST)) as cluster:
        assert one(cluster, "SELECT 1") == 1
        assert cluster.socket_folder.stat().st_mode & 0o077 == 0
    shutil.rmtree(cluster.socket_folder)


def test_a_first_start_that_was_killed_starts_over(home: Path) -> None:
    cluster = Cluster(home / "pg", FAST)
    for half_made in ("data", "data.new"):
        (home / "pg" / half_made / "base").mkdir(parents=True)
    with held(cluster):
        assert one(cluster, "SELECT 1") == 1


def test_a_killed_server_loses_nothing_committed(home: Path) -> None:
    cluster = Cluster(home / "pg")
    with held(cluster):
        with psycopg.connect(cluster.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        server = postmaster(cluster)
        workers = server.children()
        server.kill()
        eventually(lambda: all(gone(process) for process in [server, *workers]), "the kill is over")
        with held(Cluster(home / "pg")) as again:
            assert one(again, "SELECT answer FROM kept") == 42


def test_a_pid_file_that_names_a_stranger_is_stale(home: Path) -> None:
    """After a reboot the recorded number may belong to anybody, who must neither be hurt nor believed."""
    cluster = Cluster(home / "pg", FAST)
    with held(cluster):
        text = (cluster.data / "postmaster.pid").read_text()
    stranger = subprocess.Popen(["/bin/sleep", "1000"], user=cluster.account.uid)
    try:
        (cluster.data / "postmaster.pid").write_text(text.replace(text.split()[0], str(stranger.pid), 1))
        cluster.account.give(cluster.data / "postmaster.pid")
        with held(cluster):
            assert one(cluster, "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_many_may_start_it_at_once_and_the_last_one_stops_it(home: Path) -> None:
    hold = HOLD.format(user=f"held(Cluster(Path({str(home / 'pg')!r}), FAST))")
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", hold], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for holder in holders:
        assert holder.stdout
        assert holder.stdout.readline().startswith("up")
    cluster = Cluster(home / "pg", FAST)
    server = postmaster(cluster)
    holders[0].kill()  # even a killed user gives its hold back
    for holder in holders[1:3]:
        holder.communicate("\n")
    assert one(cluster, "SELECT 1") == 1
    holders[3].communicate("\n")
    assert holders[0].communicate()
    assert gone(server)


def test_a_throwaway_goes_with_its_owner_even_by_sigkill() -> None:
    with running(sys.executable, "-c", HOLD.format(user="throwaway()")) as owner:
        data = Path(owner.wait_for("up (.*)")[1])
        server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
        owner.end(signal.SIGKILL)
        eventually(lambda: gone(server) and not data.exists(), "server and folder follow their owner")


def test_what_stands_in_the_way_is_said(home: Path) -> None:
    cluster = Cluster(home / "pg", ("shared_buffers=nonsense",))
    with pytest.raises(EmbeddedServerError, match="pg_ctl start"), held(cluster):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders that the server's account may not enter")
def test_roots_private_folder_is_left_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = home / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(database, "ROOT_HOME", home / "lib")
    with held(Cluster(private / "pg", FAST)) as cluster:
        assert one(cluster, "SELECT 1") == 1
        assert cluster.place.is_relative_to(home / "lib")
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_the_server_does_not_run_as_root() -> None:
    with throwaway() as cluster:
        assert postmaster(cluster).uids().effective != 0
        assert Account.for_folder(cluster.data).uid == postmaster(cluster).uids().effective


# --- the folder of the socket, where the path of the data is too long for one ---
@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster whose socket goes into a folder that somebody has made before."""
    cluster = Cluster(home / ("x" * 90), FAST)
    folder = home / "socket"
    monkeypatch.setattr(Cluster, "socket_folder", folder)
    yield cluster, folder
    cluster.stop("immediate")


@pytest.mark.parametrize("made", ["open", "linked", "file", *(["foreign"] if os.geteuid() == 0 else [])])
def test_a_socket_folder_that_is_not_private_is_refused(taken: tuple[Cluster, Path], made: str) -> None:
    cluster, folder = taken
    owner = cluster.account.uid if cluster.account.uid is not None else os.geteuid()
    if made == "linked":
        (folder.parent / "theirs").mkdir(mode=0o700)
        folder.symlink_to(folder.parent / "theirs")
    elif made == "file":
        folder.touch()
    else:
        folder.mkdir(mode=0o700)
    if made == "open":
        folder.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(folder, owner + (made == "foreign"), -1)
    with pytest.raises(EmbeddedServerError, match="is not a private folder"):
        cluster.start()
    assert not cluster.answers


def test_its_own_socket_folder_is_used_again(taken: tuple[Cluster, Path]) -> None:
    cluster, folder = taken
    for _ in range(2):
        cluster.start()
        assert one(cluster, "SELECT 1") == 1
        cluster.stop()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_nobody_else_may_use_the_socket(home: Path) -> None:
    with held(Cluster(home / "pg", FAST)) as cluster:
        assert (cluster.socket_folder / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0
        cluster.place.chmod(0o755)
    with held(cluster):
        assert cluster.place.stat().st_mode & 0o777 == 0o700


def test_as_root_the_socket_is_where_only_root_makes_folders(home: Path) -> None:
    cluster = Cluster(home / ("y" * 90) / "pg", FAST)
    expected = database.ROOT_HOME if os.geteuid() == 0 else Path(tempfile.gettempdir())
    assert cluster.socket_folder.parent == expected
