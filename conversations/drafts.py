"""The answer as far as it has come, for whoever watches. Unlogged rows: a crash may forget them, the turn does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from agents.forgetting import Gone

TELL_EVERY = 0.3  # seconds between two looks at a growing answer

TELL = """
INSERT INTO turn_drafts AS draft (turn_id, conversation_id, text) VALUES (%s, %s, %s)
ON CONFLICT (turn_id) DO UPDATE SET text = EXCLUDED.text, updated_at = clock_timestamp()
"""


class Drafting:
    """Hears the growing text in the model's thread, and writes what is new when it is told to, in another."""

    def __init__(self, turn_id: UUID, conversation_id: UUID) -> None:
        self.turn_id, self.conversation_id = turn_id, conversation_id
        self._heard = self._told = ""

    @property
    def text(self) -> str:
        """The answer as far as it has come."""
        return self._heard

    def hear(self, text: str) -> None:
        self._heard = text

    def tell(self) -> None:
        heard = self._heard
        if heard == self._told:
            return
        with connection.cursor() as cursor:
            cursor.execute(TELL, [self.turn_id, self.conversation_id, heard.replace("\0", "")])
        self._told = heard

    def forget(self) -> None:
        """The turn is settled: its answer is a message now, or a draft of record in the turn."""
        if self._told:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM turn_drafts WHERE turn_id = %s", [self.turn_id])


def forget(ids: Sequence[UUID]) -> Gone:
    """The conversations are erased: nothing that was watched of them stays."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM turn_drafts WHERE conversation_id = ANY(%s) RETURNING conversation_id", [list(ids)])
        return Counter(id_ for (id_,) in cursor.fetchall())
