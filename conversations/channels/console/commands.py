"""What a person may say to the terminal instead of to the agent."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from conversations.burst import command_in

HELP = _(
    """\
Write as many messages as you like: the answer comes when you have been quiet for a moment.
/history  what was said before
/reset    start over; what was said is marked deleted
/help     this
/quit     leave; the conversation goes on next time (also Ctrl-D, or Ctrl-C in an empty line)"""
)
COMMANDS = ("help", "history", "reset", "quit")


def read(line: str) -> str | None:
    """The command a line is; None where it is something to say."""
    return command_in(line.strip())
