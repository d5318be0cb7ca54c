"""Settings come from the environment, and `.env.example` is the whole truth about it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["config", "search", "agents", "conversations", "entities"]
READ = re.compile(r"""(?:env(?:\.\w+)?|required_in_production)\(\s*"([A-Z][A-Z0-9_]+)\"""")
DOCUMENTED = re.compile(r"^#?([A-Z][A-Z0-9_]+)=", re.MULTILINE)


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh process with no environment but the given one."""
    environment = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings", **variables}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def setting(expression: str, **variables: str) -> str:
    finished = run(f"from django.conf import settings; print(({expression}))", **variables)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_every_variable_read_is_documented_and_the_other_way_round() -> None:
    sources = [path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    read = {name for source in sources for name in READ.findall(source)}
    assert read == set(DOCUMENTED.findall((ROOT / ".env.example").read_text()))


def test_development_needs_no_variable(tmp_path: Path) -> None:
    assert (
        setting("settings.DEBUG, settings.DATABASES['default']['NAME']", DATA_DIR=str(tmp_path)) == "(True, 'parley')"
    )


def test_the_development_secret_is_random_kept_and_private(tmp_path: Path) -> None:
    first = setting("settings.SECRET_KEY", DATA_DIR=str(tmp_path / "one"))
    assert first == setting("settings.SECRET_KEY", DATA_DIR=str(tmp_path / "one"))
    assert first != setting("settings.SECRET_KEY", DATA_DIR=str(tmp_path / "two"))
    assert (tmp_path / "one" / "secret_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "   "}, "SECRET_KEY is not set"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY is too short"),
        ({"SECRET_KEY": "x" * 50}, "ALLOWED_HOSTS is not set"),
    ],
)
def test_production_says_what_it_misses(given: dict[str, str], complaint: str) -> None:
    finished = run("from django.conf import settings; settings.DEBUG", DEBUG="false", **given)
    assert finished.returncode != 0
    assert complaint in finished.stderr.splitlines()[-1]


def test_a_database_url_turns_the_embedded_server_off_and_keeps_its_own_options() -> None:
    url = "postgresql://me:p%40ss@db.example.org:6432/talk?sslmode=require"
    shown = setting("settings.EMBEDDED_DATABASE, settings.DATABASES['default']", DATABASE_URL=url)
    assert shown.startswith("(None, ")
    for part in ("'p@ss'", "'db.example.org'", "6432", "'sslmode': 'require'", "statement_timeout=10s"):
        assert part in shown


def test_a_word_means_the_same_in_any_case() -> None:
    words = {"STAFF_SECOND_FACTOR": "Required", "LANGUAGE_CODE": "RU", "LOG_LEVEL": "debug"}
    assert setting(", ".join(f"settings.{name}" for name in words), **words) == "('required', 'ru', 'DEBUG')"


def test_only_the_web_process_has_a_pool(tmp_path: Path) -> None:
    """A pool does not survive the forks of a worker, and behind an external pooler it is turned off by hand."""
    expression = "'pool' in settings.DATABASES['default']['OPTIONS']"
    data = {"DATA_DIR": str(tmp_path)}
    assert setting(expression, **data) == "False"
    in_web = f"import config.asgi; from django.conf import settings; print({expression})"
    assert run(in_web, **data).stdout.strip() == "True"
    assert run(in_web, **data, DATABASE_POOL="false").stdout.strip() == "False"


def test_deploy_checks_find_nothing() -> None:
    variables = {"DEBUG": "false", "SECRET_KEY": os.urandom(40).hex(), "ALLOWED_HOSTS": "parley.example.org"}
    variables["TRUSTED_PROXIES"] = "1"
    code = (
        "from django.core.management import call_command; import django; django.setup();"
        "call_command('check', deploy=True, fail_level='WARNING')"
    )
    finished = run(code, **variables, DATABASE_URL="postgresql://db.example.org/parley")
    assert finished.returncode == 0, finished.stderr
    assert "no issues (1 silenced)" in finished.stdout  # security.W021: HSTS_PRELOAD is off


def test_a_password_beside_the_url_needs_no_quoting() -> None:
    password = setting(
        "settings.DATABASES['default']['PASSWORD']",
        DATABASE_URL="postgresql://parley@db.example.org/parley",
        DATABASE_PASSWORD="a/b#c%d@e",
    )
    assert password == "a/b#c%d@e"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("WORKER_PROCESSES", "0", "greater than or equal to 1"),
        ("INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT", "-4", "greater than or equal to 0"),
        ("INTERVIEW_TURN_LEASE", "0", "greater than 0"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO, WARNING, ERROR"),
        ("TIME_ZONE", "../etc/passwd", "no such time zone"),
    ],
)
def test_a_value_that_cannot_be_is_told_in_a_line_that_names_it(name: str, value: str, complaint: str) -> None:
    environment = {"PATH": os.environ["PATH"], name: value}
    command = [sys.executable, "manage.py", "check"]
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert f'"{name}" invalid' in finished.stderr
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr
