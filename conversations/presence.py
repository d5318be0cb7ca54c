"""The person sees that an answer is being written, for as long as the turn runs."""

from __future__ import annotations

import threading
import time
from uuid import UUID

import structlog

from conversations import delivering
from conversations.channels import CHANNELS, Address, ChannelError, Transport

logger = structlog.get_logger(__name__)

AGAIN_AFTER = 4.0  # seconds; messengers show a sign for about five


class Presence:
    """Shown by the thread that keeps the turn's lease, so an answer that comes at once costs nothing.

    Each call has a thread of its own: one that hangs must neither cost the lease nor pile up.
    """

    def __init__(self, conversation_id: UUID) -> None:
        self._conversation_id = conversation_id
        self._calls: tuple[Transport, Address] | None = None
        self._known = False
        self._shown = -AGAIN_AFTER
        self._call: threading.Thread | None = None

    def show(self) -> None:
        """Show it, unless it was shown a moment ago, or cannot be."""
        if time.monotonic() - self._shown < AGAIN_AFTER or (self._call and self._call.is_alive()):
            return
        self._shown = time.monotonic()
        if not self._known:
            self._calls, self._known = self._find(), True
        if self._calls is not None:
            self._call = threading.Thread(target=self._show, args=self._calls, name="typing", daemon=True)
            self._call.start()

    def _find(self) -> tuple[Transport, Address] | None:
        found = delivering.address_of(self._conversation_id)
        if found is None:
            return None
        channel, address = found
        known = CHANNELS.get(channel)
        if known is None or not known.pushes or known.by_runner:
            return None
        try:
            return delivering.transport_of(channel), address
        except ChannelError:
            return None  # the delivery will say what is wrong

    @staticmethod
    def _show(transport: Transport, address: Address) -> None:
        try:
            transport.show_typing(address)
        except Exception:  # a sign that nobody sees must not cost the answer
            logger.exception("typing not shown", conversation=str(address.conversation_id))
