"""The project's settings, with an agent that asks the harness's model and a person who hardly waits."""

from tests.chaos.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.talk"]  # noqa: F405

INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT = 0.4
INTERVIEW_TYPING_DEBOUNCE_TIMEOUT = 0.6
INTERVIEW_BUFFER_MAX_WAIT = 3.0
INTERVIEW_TURN_LEASE = 2.0
INTERVIEW_TURN_BACKOFF = 0.1
INTERVIEW_TURN_ATTEMPTS = 50
