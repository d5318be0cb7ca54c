"""Reads the environment: real variables first, then `.env` beside manage.py."""

import secrets
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured
from environs import Env, ValidationError, validate

ROOT = Path(__file__).resolve().parent.parent
SHORTEST_SECRET = 50  # characters, as Django's own deploy check wants

env = Env()
env.read_env(ROOT / ".env", recurse=False)


# --- what a value may be: a wrong one is told at the start, not where a burst never ends ---
def at_least(number: float) -> validate.Range:
    return validate.Range(min=number)


def more_than(number: float) -> validate.Range:
    return validate.Range(min=number, min_inclusive=False)


def one_of(*words: str) -> Callable[[str], None]:
    """In whatever case."""

    def check(value: str) -> None:
        if value.lower() not in {word.lower() for word in words}:
            raise ValidationError(f"Must be one of: {', '.join(words)}.")

    return check


def a_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValidationError("There is no such time zone; one is Europe/Riga.") from error


def required_in_production(name: str, example: str, *, production: bool) -> str:
    """A value that development may leave out and production may not."""
    value: str = env.str(name, "")
    if production and not value.strip():
        raise ImproperlyConfigured(
            f"{name} is not set. Production (DEBUG=false) needs it, for example {name}={example}"
        )
    return value


def secret_key(folder: Path, *, production: bool) -> str:
    """The site's secret: given and long in production, made by itself in development."""
    given = required_in_production("SECRET_KEY", "$(openssl rand -base64 48)", production=production)
    if production and len(given) < SHORTEST_SECRET:
        raise ImproperlyConfigured(
            f"SECRET_KEY is too short: {len(given)} characters, {SHORTEST_SECRET} are needed. "
            "For example SECRET_KEY=$(openssl rand -base64 48)"
        )
    return given or development_secret(folder)


def development_secret(folder: Path) -> str:
    """A secret of this machine's own, made once: nothing to set in development, and nothing guessable either."""
    path = folder / "secret_key"
    try:
        return path.read_text()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"secret_key.{secrets.token_hex(4)}"
    draft.touch(mode=0o600)
    draft.write_text(secrets.token_urlsafe(50))
    try:
        path.hardlink_to(draft)  # the first of two simultaneous starts wins, the other reads its secret
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text()
