"""The project's settings, and an app of tasks to be killed in."""

from config.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.stage"]  # noqa: F405
