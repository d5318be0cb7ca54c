"""Many writers as real processes: `python -m tests.writers CONVERSATIONS WRITERS MESSAGES VICTIMS` in one process tree.

One process imports Django and forks the writers, so that fifty of them cost one start. A writer says `stored` after
each append that came back. A victim says `holding` in mid-transaction, with a message stored but not committed, and
waits there for its SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from uuid import UUID

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    conversations = [UUID(each) for each in sys.argv[1].split(",")]
    writers, messages, victims = map(int, sys.argv[2:5])
    children = []
    for number in range(writers):
        if pid := os.fork():
            children.append(pid)
            continue
        try:
            write(number, conversations[number % len(conversations)], messages, victim=number < victims)
        except BaseException:
            say(f"failed {number} {traceback.format_exc()!r}")
            os._exit(1)
        os._exit(0)
    for pid in children:
        os.waitpid(pid, 0)
    say("finished")


def write(number: int, conversation: UUID, messages: int, *, victim: bool) -> None:
    from django.db import transaction

    from conversations import log

    for turn in range(messages):
        if victim and turn == messages // 2:
            with transaction.atomic():
                log.append(conversation, "user", f"lost {number}", external_id=f"lost:{number}")
                say(f"holding {os.getpid()}")
                signal.pause()
        entry = log.append(conversation, "user", f"{number} {turn}", external_id=f"{number}:{turn}")
        say(f"stored {number} {turn} {conversation} {entry.message_index}")


def say(line: str) -> None:
    """One write of less than a pipe's atomic size: lines of many writers never mix."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
