"""A signal stops the supervisor whatever it is doing with the database."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from django.db import ProgrammingError

from config.queue.supervisor import Stop, Supervisor

pytestmark = pytest.mark.django_db


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    one = Supervisor(1)
    before = signal.signal(signal.SIGTERM, one._on_signal)
    yield one
    signal.signal(signal.SIGTERM, before)


def test_a_signal_that_the_error_of_a_rollback_hides_is_not_taken_for_an_outage(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was seen: the end of a transaction whose statement was interrupted raises an error of its own."""

    def beat() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([signal.SIGUSR1], 5)  # the signal comes here
        finally:
            raise ProgrammingError("can't change 'autocommit' now: connection in transaction status ACTIVE")

    (group,) = supervisor.clusters
    monkeypatch.setattr(type(group), "examine", lambda _self: "")
    monkeypatch.setattr(supervisor, "_beat", beat)
    monkeypatch.setattr("config.queue.supervisor.connection.close", lambda: None)  # the test's own transaction
    with pytest.raises(Stop):
        supervisor._look_after_clusters()
