"""uvicorn's protocol with one rule more: a request has to have begun in time (ADR 0137).

uvicorn waits for the end of the headers for ever, so that whoever sends a byte now and then, or nothing, keeps a
connection. From the first byte of the headers on our application is asked, and `config.bodies` sees to the rest.
"""

from __future__ import annotations

import asyncio
from typing import cast

import structlog
from django.conf import settings
from uvicorn.protocols.http.h11_impl import H11Protocol

log = structlog.get_logger(__name__)


class HeadersInTime(H11Protocol):
    """Hangs up where headers are not complete in time; not while a request is being answered."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answering():
            self._wait_no_more()
        elif self._deadline is None:  # the next request of this connection begins
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(settings.HTTP_HEADER_SECONDS, self._too_slow)

    def _wait_no_more(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self._answering() and not self.transport.is_closing():
            log.info("headers too slow", address=self.client[0] if self.client else "")
            self.transport.close()
