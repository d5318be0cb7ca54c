"""`manage.py up`, which is what `make run` does: started, doubled, interrupted and killed as people do."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from config import keeping
from tests.fake_telegram import TOKEN, telegram
from tests.patience import PATIENCE
from tests.processes import ROOT, Running, eventually, free_port, manage
from tests.scratch import LATER, long

READY = r"Parley is ready: (\S+)"
SERVICES = {"worker": "manage.py worker", "bot": "manage.py bot", "web": "config.serving"}
LOGIN = r"Staff login: admin / (\S+)"


@pytest.fixture
def place() -> Iterator[dict[str, str]]:
    """The variables of a fresh installation."""
    with TemporaryDirectory(prefix="parley-test-") as folder:
        Path(folder).chmod(0o711)
        yield {"DATA_DIR": f"{folder}/var", "PORT": str(free_port())}


@contextmanager
def up(place: dict[str, str]) -> Iterator[Running]:
    with manage("up", **place) as run:
        yield run


def answers(place: dict[str, str], path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place['PORT']}{path}", timeout=PATIENCE) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def servers(place: dict[str, str]) -> list[psutil.Process]:
    """The PostgreSQL processes of this installation, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(word.startswith(place["DATA_DIR"]) for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return [process for process in found if process.name() == "postgres"]


def named(run: Running, text: str) -> psutil.Process:
    found: list[psutil.Process] = []

    def look() -> bool:
        with suppress(psutil.NoSuchProcess):  # some process of the family has just ended
            found[:] = [process for process in run.family() if text in " ".join(process.cmdline())]
        return bool(found)

    eventually(look, f"a process runs {text}")
    return found[0]


def test_first_run_second_run_and_a_run_beside_it(place: dict[str, str]) -> None:
    with up(place) as first:
        password = first.wait_for(LOGIN)[1]
        assert first.wait_for(READY)[1] == f"http://127.0.0.1:{place['PORT']}/admin/"
        assert answers(place, "/healthz") == 200
        assert answers(place, "/admin/login/") == 200
        with up(place) as second:
            second.wait_for("Parley already runs from this folder: http")
            assert second.exit_code() == 1
        family = first.family()
        assert first.end() == 0
        eventually(lambda: not any(process.is_running() for process in family), "every process ends")
        assert not servers(place)
    with up(place) as again:
        again.wait_for(READY)
        assert not re.search(LOGIN, "".join(again.output))
        with manage("shell", "-c", _logs_in(password), **place) as shell:
            shell.wait_for("logs in: True")
        assert again.end(signal.SIGTERM) == 0


def _logs_in(password: str) -> str:
    return (
        "from django.contrib.auth import authenticate;"
        f"print('logs in:', bool(authenticate(username='admin', password={password!r})))"
    )


@pytest.mark.parametrize("victim", ["manage.py up", pytest.param("config.keeping", marks=LATER)])
def test_a_killed_process_takes_the_run_down_and_the_next_one_starts(place: dict[str, str], victim: str) -> None:
    with up(place) as run:
        run.wait_for(READY)
        family = run.family()
        named(run, victim).kill()
        assert run.exit_code() != 0
        eventually(lambda: not any(_alive(process) for process in family), "no process is left behind")
    with up(place) as again:
        again.wait_for(READY)
        assert answers(place, "/readyz") in {200, 503}
        assert again.end() == 0
    assert not servers(place)


def test_a_killed_service_is_started_again_and_the_others_go_on(place: dict[str, str]) -> None:
    with telegram() as fake, up({**place, "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": fake.url}) as run:
        run.wait_for(READY)
        eventually(lambda: fake.polls, "the bot asks for updates")
        for name, command in SERVICES.items():
            others = [named(run, other) for other in SERVICES.values() if other != command]
            named(run, command).kill()
            run.wait_for(rf"{name} was killed \(signal 9\)")
            run.wait_for(rf"{name} is started again in \d+ s")
            run.wait_for(rf"{name} started \(pid=")
            assert all(_alive(process) for process in others)
        eventually(lambda: _status(place) == 200, "the web answers again")
        family = run.family()
        assert run.end() == 0
        eventually(lambda: not any(_alive(process) for process in family), "Ctrl-C stops everything")


def test_a_bot_that_cannot_run_is_given_up_in_words_and_the_rest_goes_on(place: dict[str, str]) -> None:
    with telegram() as fake:
        fake.webhook = "https://elsewhere.example.org"
        with up({**place, "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": fake.url}) as run:
            run.wait_for("has a webhook")
            run.wait_for("bot is not started again: something must be changed first.* Everything else runs on")
            eventually(lambda: _status(place) == 200, "the web serves")
            assert run.end() == 0


def test_a_service_that_ends_again_and_again_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("web: exit 3\nworker: exec sleep 600\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "config.keeping", "web", "worker"]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout
    assert run.stdout.count("web started") == keeping.QUICK_ENDS
    assert "web is not started again: it ended 4 times within 30 s of its start" in run.stdout
    assert "worker was killed (signal 15)" in run.stdout


def _status(place: dict[str, str]) -> int:
    try:
        return answers(place, "/healthz")
    except OSError:
        return 0


@long
def test_a_database_that_dies_is_started_again_under_the_same_run(place: dict[str, str]) -> None:
    with up(place) as run:
        run.wait_for(READY)
        for process in servers(place):
            process.kill()
        eventually(lambda: answers(place, "/readyz") == 200, "it serves again, and nobody was asked")
        assert run.end() == 0
    assert not servers(place), "and it is stopped with the run"


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_interrupted_first_run_leaves_nothing_in_the_way(place: dict[str, str]) -> None:
    with up(place) as run:
        eventually(lambda: servers(place) or run.process.poll() is not None, "the database starts")
        run.end(signal.SIGKILL)
    with up(place) as again:
        again.wait_for(READY)
        assert again.end() == 0


def test_a_port_in_use_is_named_with_a_way_out(place: dict[str, str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", int(place["PORT"])))
        listener.listen()
        with up(place) as run:
            run.wait_for(rf"Port {place['PORT']} cannot be used \(Address already in use\).*PORT=\d+ make run")
            assert run.exit_code() == 1


def test_a_new_password_replaces_the_old_one(place: dict[str, str]) -> None:
    with manage("migrate", "-v0", **place) as migrate:
        assert migrate.exit_code() == 0
    with manage("password", "anna", **place) as nobody:
        nobody.wait_for("There is no staff account 'anna'. `manage.py password` makes the first.")
    with manage("password", **place) as made:
        first = made.wait_for(LOGIN)[1]
    with manage("password", **place) as fresh:
        second = fresh.wait_for(LOGIN)[1]
    for password, works in ((first, False), (second, True)):
        with manage("shell", "-c", _logs_in(password), **place) as shell:
            shell.wait_for(f"logs in: {works}")


def test_the_doctor_tells_a_stopped_database_and_what_to_do(place: dict[str, str]) -> None:
    os.makedirs(place["DATA_DIR"])
    with manage("doctor", **place) as doctor:
        doctor.wait_for(r"ok +disk")
        doctor.wait_for(r"FAIL +database +.*No such file or directory")
        doctor.wait_for("-> The embedded PostgreSQL runs while `make run`")
        assert doctor.exit_code() == 1
