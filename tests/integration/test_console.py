"""The terminal as people meet it: a pipe, a terminal that draws, one that cannot, a signal in the middle."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote

import psycopg
import pytest

from config.database import Cluster, throwaway
from tests.patience import PATIENCE
from tests.processes import ROOT
from tests.proxy import Lossy, lossy

HELLO = "Hello! I would like to hear"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A database of its own with a worker beside it, as where `make run` runs."""
    with throwaway() as cluster:
        place = environment(cluster, tmp_path_factory.mktemp("data"))
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=place, check=True)
        command = [sys.executable, "manage.py", "worker", "--processes", "2"]
        log = (tmp_path_factory.mktemp("log") / "worker.log").open("wb")
        with log, subprocess.Popen(command, cwd=ROOT, env=place, stdout=log, stderr=log) as worker:
            until(lambda: rows(place, "SELECT count(*) FROM queue_workers") != [(0,)], "a worker")
            try:
                yield place
            finally:
                worker.terminate()


def environment(cluster: Cluster, data: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": cluster.url,
        "DATA_DIR": str(data),
        "INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT": "0.5",
        "INTERVIEW_TYPING_DEBOUNCE_TIMEOUT": "8",
        "TERM": "xterm",
        "LANG": "C.UTF-8",
    }


def rows(place: dict[str, str], query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(place["DATABASE_URL"]) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def until(condition: object, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def bot(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", "bot", "--channel", "console", *arguments]


class Terminal:
    """A person at a terminal of 80 columns."""

    def __init__(self, place: dict[str, str], *arguments: str, **variables: str) -> None:
        self.mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.process = subprocess.Popen(
            bot(*arguments), cwd=ROOT, env={**place, **variables}, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        self.said = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.mine)
        os.close(self.theirs)

    def see(self, pattern: str) -> None:
        """Wait until it stands there, in what came since the last look."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.said)):
            assert time.monotonic() < deadline, f"{pattern!r} is not in {self.said!r}"
            if select.select([self.mine], [], [], 0.2)[0]:
                self.said += os.read(self.mine, 65536).decode(errors="replace")
        self.said = self.said[found.end() :]

    def type(self, text: str) -> None:
        os.write(self.mine, text.encode())

    def leave(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:  # it may wait for somebody to read
            assert time.monotonic() < deadline, self.said
            if select.select([self.mine], [], [], 0.1)[0]:
                self.said += os.read(self.mine, 65536).decode(errors="replace")
        return int(self.process.returncode)


def test_a_pipe_gets_one_answer_and_ends(world: dict[str, str]) -> None:
    done = subprocess.run(
        bot("--user-id", "1"), cwd=ROOT, env=world, input="hello\n\nI moved\x00 \xff to Riga 🙂",
        encoding="utf-8", errors="surrogateescape", capture_output=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(HELLO)
    assert len(done.stdout.splitlines()) == 1
    found = rows(world, "SELECT m.content FROM messages m JOIN conversations c ON c.id = conversation_id"
                        " WHERE user_id = 1 AND role = 'user' ORDER BY message_index")  # fmt: skip
    assert found == [("hello",), ("I moved\ufffd \xff to Riga 🙂",)]


def test_an_empty_pipe_ends_at_once(world: dict[str, str]) -> None:
    done = subprocess.run(bot("--user-id", "2"), cwd=ROOT, env=world, input="", capture_output=True, text=True,
                          check=False, timeout=PATIENCE)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_a_person_chats_and_finds_it_again(world: dict[str, str]) -> None:
    with Terminal(world, "--user-id", "3") as terminal:
        terminal.see("You talk to relocation")
        terminal.type("hi\r")
        terminal.see(r"you │ hi")
        terminal.see("listening")
        terminal.see(HELLO)
        terminal.type("from \x1b[D\x1b[D\x1b[D\x1b[D\x1b[DI come \r")
        terminal.see("you │ I come from")
        terminal.see("What made you decide")
        terminal.type("/nonsense\r")
        terminal.see("There is no command /nonsense")
        terminal.type("\x04")
        assert terminal.leave() == 0
        assert termios.tcgetattr(terminal.theirs) == terminal.before, "the terminal is left as it was"
    with Terminal(world, "--user-id", "3") as terminal:
        terminal.see("I come from")
        terminal.see("What made you decide")
        terminal.type("/reset\r")
        terminal.see("begin anew")
        terminal.type("/quit\r")
        assert terminal.leave() == 0
    assert rows(world, "SELECT count(*) FROM conversations WHERE user_id = 3") == [(2,)]


@pytest.fixture
def between(world: dict[str, str], tmp_path: Path) -> Iterator[tuple[dict[str, str], Lossy]]:
    """The same world with a proxy before its database."""
    folder, _, query = world["DATABASE_URL"].partition("@")[2].partition(":")
    with (
        TemporaryDirectory(prefix="parley-test-") as place,
        lossy(Path(place), f"{unquote(folder)}/.s.PGSQL.5432") as proxy,
    ):
        url = f"postgresql://parley@{quote(place, safe='')}:{query}"
        yield {**world, "DATABASE_URL": url, "DATA_DIR": str(tmp_path), "DATABASE_CONNECT_TIMEOUT": "2"}, proxy


@pytest.mark.parametrize(("command", "sees"), [("/reset", "begin anew"), ("/history", HELLO)])
def test_a_command_survives_a_lost_connection(between: tuple[dict[str, str], Lossy], command: str, sees: str) -> None:
    place, proxy = between
    with Terminal(place, "--user-id", str(20 + len(command))) as terminal:
        terminal.see("You talk to")
        terminal.type("hi\r")
        terminal.see(HELLO)
        proxy.cut()
        proxy.restore()
        terminal.type(f"{command}\r")
        terminal.see(sees)
        terminal.type("once more\r")
        terminal.see("you │ once more")
        terminal.see("listening")
        terminal.type("/quit\r")
        assert terminal.leave() == 0


def test_a_command_without_a_database_is_told_so_and_the_chat_goes_on(between: tuple[dict[str, str], Lossy]) -> None:
    place, proxy = between
    with Terminal(place, "--user-id", "29", BOT_OUTAGE_PATIENCE="0.5") as terminal:
        terminal.see("You talk to")
        proxy.cut()
        terminal.type("/reset\r")
        terminal.see("It was not done: the database is away")
        proxy.restore()
        terminal.type("/reset\r")
        terminal.see("begin anew")
        terminal.type("/quit\r")
        assert terminal.leave() == 0
    assert rows(place, "SELECT count(*) FROM conversations WHERE user_id = 29") == [(2,)]


def test_a_database_that_hangs_without_closing_is_stood_in_for(between: tuple[dict[str, str], Lossy]) -> None:
    place, proxy = between
    more = {"BOT_OUTAGE_PATIENCE": "1", "DATABASE_TIMEOUT": "2"}
    with Terminal(place, "--user-id", "30", **more) as terminal:
        terminal.see("You talk to")
        terminal.type("hi\r")
        terminal.see(HELLO)
        proxy.hang()
        terminal.type("are you there?\r")
        terminal.see("no database")
        terminal.see("kept that")
        proxy.restore()

        def stored() -> bool:
            return rows(place, "SELECT count(*) FROM outages") == [(1,)]

        until(stored, "the journal is stored")
        terminal.type("/quit\r")
        assert terminal.leave() == 0


def test_who_writes_on_is_waited_for(world: dict[str, str]) -> None:
    with Terminal(world, "--user-id", "4", INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT="5") as terminal:
        terminal.see("You talk to")
        terminal.type("hi\r")
        terminal.see("listening")
        terminal.type("and an")

        def extended() -> bool:
            return rows(world, "SELECT extended_by_typing > 0 FROM message_buffers b JOIN conversations c"
                               " ON c.id = b.conversation_id WHERE c.user_id = 4") == [(True,)]  # fmt: skip

        until(extended, "the burst waits on")


def test_two_terminals_of_one_person_see_the_same(world: dict[str, str]) -> None:
    with Terminal(world, "--user-id", "5") as one, Terminal(world, "--user-id", "5") as other:
        one.see("You talk to")
        other.see("You talk to")
        one.type("from one\r")
        other.see("you │ from one")
        other.type("from the other\r")
        one.see("you │ from the other")
        one.see(HELLO)
        other.see(HELLO)


def test_no_message_commands_the_terminal(world: dict[str, str]) -> None:
    with Terminal(world, "--user-id", "6") as terminal:
        terminal.see("You talk to")
        terminal.type("\x1b[200~red \x1b]0;title\x07 alert\x1b[201~\r")
        terminal.see("you │ red")
        terminal.type("/quit\r")
        terminal.leave()
    [(text,)] = rows(world, "SELECT content FROM messages JOIN conversations c ON c.id = conversation_id"
                            " WHERE user_id = 6 AND role = 'user'")  # fmt: skip
    with Terminal(world, "--user-id", "6") as terminal:
        terminal.see("red")
        terminal.see("You talk to")
        assert "\x1b]0;" not in terminal.said
        assert "red" in str(text)


def test_a_terminal_that_cannot_draw_gets_plain_lines(world: dict[str, str]) -> None:
    with Terminal(world, "--user-id", "7", TERM="dumb") as terminal:
        terminal.see("You talk to")
        terminal.type("hi\n")
        terminal.see(r"\(listening")
        terminal.see(HELLO)
        assert "\x1b" not in terminal.said
        terminal.type("\x04")
        assert terminal.leave() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(world: dict[str, str], number: signal.Signals) -> None:
    with Terminal(world, "--user-id", "8") as terminal:
        terminal.see("You talk to")
        terminal.process.send_signal(number)
        assert terminal.leave() == 0
        assert termios.tcgetattr(terminal.theirs) == terminal.before


# --- what stands in the way is said ---


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--channel", "consol"], 1, r"no channel 'consol'\. Did you mean console\?"),
        (["--channel", "api"], 1, "No bot serves api"),
        (["--channel", "console", "--agent", "relocatio"], 1, r"relocatio.*Did you mean relocation\?"),
        (["--channel", "telegram"], 1, "TELEGRAM_BOT_TOKEN"),
        (["--channel", "mtproto"], 1, "TELEGRAM_API_ID is not set.*my.telegram.org"),
        (["--channel", "console", "--user-id", str(2**63)], 1, "64 bits"),
        (["--channel", "console", "--user-id", "me"], 2, "invalid int"),
    ],
)
def test_a_wrong_order_is_refused_in_words(world: dict[str, str], arguments: list[str], code: int, says: str) -> None:
    done = subprocess.run([sys.executable, "manage.py", "bot", *arguments], cwd=ROOT, env=world, capture_output=True,
                          text=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_database_it_says_so_and_another_start_may_help(world: dict[str, str]) -> None:
    away = {**world, "DATABASE_URL": "postgresql://parley@127.0.0.1:1/parley"}
    done = subprocess.run(bot(), cwd=ROOT, env=away, capture_output=True, text=True, check=False, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 75
    assert "PostgreSQL does not answer" in done.stderr
    assert "Traceback" not in done.stderr
