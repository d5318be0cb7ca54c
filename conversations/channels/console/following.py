"""What happens in the conversation, told as it happens by a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import structlog

from conversations import live
from conversations.live import Happened

logger = structlog.get_logger(__name__)


class Following:
    """One listener for as long as it is not stopped; an outage of the database is waited out by `live`."""

    def __init__(self, conversation_id: UUID, after_index: int, tell: Callable[[Happened], object]) -> None:
        self.conversation_id, self.after_index, self.tell = conversation_id, after_index, tell
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        while self._thread.is_alive():  # Python 3.11's wait_for may swallow one cancellation
            with suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
            self._thread.join(0.2)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._follow())
            except asyncio.CancelledError:
                return
            except Exception as error:
                logger.error("the live view broke", exc_info=error)
                self.tell(Happened("broken", {}, self.after_index))

    async def _follow(self) -> None:
        self._task = asyncio.current_task()
        if self._over.is_set():
            return
        async for happened in live.follow(self.conversation_id, after_index=self.after_index):
            if self._over.is_set():
                return
            if happened is not None:
                self.tell(happened)
