"""The agents' folder: the only place a configuration is read from, whatever a row or a person names."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from django.conf import settings

from agents.config import LARGEST, AgentConfig, ConfigInvalidError, parse

SHAPE = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\.toml", re.ASCII)
LONGEST = 200  # characters of a path
RULE = "A config file is named by small letters, digits, - and _, ends in .toml and lies in the agents' folder"


def checked(config_path: str) -> Path:
    """Where the file really is. Raises ConfigInvalidError before anything is opened."""
    if len(config_path) > LONGEST or not SHAPE.fullmatch(config_path):
        raise ConfigInvalidError(
            [f"config_path: {config_path[:80]!r} is refused. {RULE}, for example relocation.toml."]
        )
    folder = Path(settings.AGENTS_DIR).resolve()
    path = (folder / config_path).resolve()
    if not path.is_relative_to(folder) or path.suffix != ".toml":
        raise ConfigInvalidError([f"config_path: {config_path} leads out of the agents' folder. {RULE}."])
    if not path.is_file():
        raise ConfigInvalidError([f"config_path: there is no file {config_path} in the agents' folder."])
    return path


def read(config_path: str) -> AgentConfig:
    """The configuration in the file."""
    path = checked(config_path)
    # The file may be exchanged after it was looked at: no link is followed, and nothing but a plain file is read.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigInvalidError([f"config_path: {config_path} is no plain file."])
        content = file.read(LARGEST + 1)
    try:
        return parse(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigInvalidError([f"{config_path} is not UTF-8."]) from error


def found() -> list[str]:
    """Every config file of the folder, by path; those whose name breaks the rule are not seen."""
    folder = Path(settings.AGENTS_DIR).resolve()
    paths = (str(path.relative_to(folder)) for path in folder.rglob("*.toml"))
    return sorted(path for path in paths if SHAPE.fullmatch(path))
