"""A log line tells what happened and to which row, and never what a person wrote."""

import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from django.db import DatabaseError, connection, transaction

from config import logs
from tests.processes import ROOT, free_port, running

SECRET = "my secret\nsecond secret line\nHINT:  third secret"
FAILING = [
    ("INSERT INTO probe (word) VALUES (%s), (%s)", [SECRET, SECRET]),  # 23505, quotes the key
    ("INSERT INTO probe (word, short) VALUES ('x', %s)", [SECRET]),  # 22001
    ("SELECT %s::int", [SECRET]),  # 22P02, quotes the value in its first line
    ("INSERT INTO probe (word, checked) VALUES (%s, -1)", [SECRET]),  # 23514, quotes the whole row
]


@pytest.mark.django_db
@pytest.mark.parametrize(("query", "values"), FAILING)
def test_a_database_error_is_logged_without_the_row(query: str, values: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE probe (word text UNIQUE, short varchar(3), checked int CHECK (checked > 0))"
        )
        with pytest.raises(DatabaseError) as caught, transaction.atomic():
            cursor.execute(query, values)
    text = logs.rendered((caught.type, caught.value, caught.tb))
    assert "secret" not in text
    assert "values left out" in text
    assert "test_logs.py" in text, "the way to the line is still told"


@pytest.mark.django_db
def test_an_error_that_quotes_no_value_keeps_its_message() -> None:
    with pytest.raises(DatabaseError) as caught, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nowhere")
    assert 'relation "nowhere" does not exist' in logs.rendered((caught.type, caught.value, caught.tb))


def test_production_logs_one_json_object_per_line() -> None:
    code = (
        "from config import logs; logs.configure(level='INFO', as_json=True)\n"
        "import structlog, logging; structlog.contextvars.bind_contextvars(request_id='abc')\n"
        "structlog.get_logger('ours').info('stored', message_index=3)\n"
        "logging.getLogger('theirs').warning('line\\nforged: %s', 'x')\n"
        "logging.getLogger('theirs').debug('too much')\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, theirs = [json.loads(line) for line in finished.stderr.splitlines()]
    assert (ours["event"], ours["request_id"], ours["message_index"]) == ("stored", "abc", 3)
    assert (theirs["event"], theirs["level"], theirs["request_id"]) == ("line\nforged: x", "warning", "abc")


def test_the_request_id_is_on_every_line_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), structlog.contextvars.bound_contextvars(request_id="trace-1"):
        structlog.get_logger("ours").info("stored")
    assert caplog.records[-1].msg["request_id"] == "trace-1"  # type: ignore[index]


def test_the_web_servers_own_lines_are_json_in_production(tmp_path: Path) -> None:
    variables = {
        "DEBUG": "false",
        "SECRET_KEY": "k7-Zq0!" * 12,
        "ALLOWED_HOSTS": "parley.example.org",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "DATA_DIR": str(tmp_path),
        "PORT": str(free_port()),
    }
    with running(sys.executable, "-m", "config.serving", **variables) as web:
        line = web.wait_for("Started server process").string
        assert json.loads(line)["logger"] == "uvicorn.error"
        web.end(signal.SIGTERM)


def test_a_variable_that_a_template_leaves_unset_is_no_trace_even_at_debug() -> None:
    code = (
        "from config import logs; logs.configure(level='DEBUG', as_json=True)\n"
        "import logging; logging.getLogger('django.template').debug('unset'); logging.getLogger('theirs').debug('told')"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [json.loads(line)["event"] for line in finished.stderr.splitlines()] == ["told"]


def test_an_error_that_is_its_own_cause_is_logged_once() -> None:
    error = ValueError("round")
    error.__cause__ = error
    assert "round" in logs.rendered((ValueError, error, None))
