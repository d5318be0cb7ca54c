"""What the person at the terminal sees: what was said, and below it one line to write in."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import termios
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from django.utils.translation import gettext_lazy as _

from config.text import UNSEEN
from conversations.channels import Address, Result, Sent
from conversations.channels.console.editor import Editor, fitting, width

LABEL = 15  # columns for who speaks, and for what is being waited for
YOU = _("you")
COUNTDOWN = re.compile(r"(\s*\d+\s*\w*)?[.…\s]*\Z")
DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


class Screen:
    """Plain lines into a pipe or a terminal that cannot do more; labelled ones, and a line to write in, into others."""

    limit = 2**31

    def __init__(self, out: TextIO, *, editor: Editor | None = None, labels: bool = True) -> None:
        self.out, self.editor, self.labels = out, editor, labels
        self.status, self.speaker = "", ""
        self._drawn = ""
        encoding = (out.encoding or "").lower().replace("-", "")
        self.bar, self.dots = ("│", "…") if encoding.startswith("utf") else ("|", "...")

    # --- the transport ---
    def send(self, address: Address, text: str, *, key: str) -> Result:  # noqa: ARG002  there is one person
        self.say(self.speaker, text)
        return Sent(key)

    def show_typing(self, address: Address) -> None:  # noqa: ARG002
        self.show(str(_("thinking")))

    # --- what stands there ---
    def say(self, who: str, text: str) -> None:
        """Add what somebody said above the line."""
        if not self.labels:
            self._put(f"{self._safe(text)}\n")
            return
        room = max(20, self.columns - LABEL - 3)
        lines = _wrapped(self._safe(text), room)
        label = _right(who, self.dots)
        self._put("".join(f"{label if not n else ' ' * LABEL} {self.bar} {line}\n" for n, line in enumerate(lines)))

    def note(self, text: str) -> None:
        """Add what nobody said: our own words."""
        room = max(20, self.columns - LABEL - 3)
        for line in _wrapped(text, room):
            shown = f"{' ' * LABEL} {self.bar} {line}" if self.labels else line
            self._put(f"{DIM}{shown}{PLAIN}\n" if self.editor else f"{shown}\n")

    def show(self, status: str) -> None:
        """Say what is being waited for; a screen without a line to write in says only what is new."""
        status = status and f"{status}{self.dots}"
        if self.editor is None and self.labels and _lasting(status) not in ("", self.status):
            self._put(f"{' ' * LABEL} {self.bar} ({status})\n")
        self.status = status if self.editor is not None else _lasting(status)
        self.draw()

    def draw(self) -> None:
        """Draw the line to write in, where it changed."""
        if self.editor is None:
            return
        label = _right(self.status or str(YOU), self.dots)
        shown = "".join("↵" if letter == "\n" else letter for letter in UNSEEN.sub("·", self.editor.text))
        before, behind = fitting(shown, self.editor.cursor, self.columns - LABEL - 3)
        style = DIM if self.status else BOLD
        back = f"\x1b[{width(behind)}D" if behind else ""
        line = f"\r{style}{label} {self.bar}{PLAIN} {before}{behind}\x1b[K{back}"
        if line != self._drawn:
            self.out.write(line)
            self.out.flush()
            self._drawn = line

    def clear(self) -> None:
        self.out.write("\x1b[2J\x1b[H")
        self._drawn = ""
        self.draw()

    @property
    def columns(self) -> int:
        return shutil.get_terminal_size().columns

    def _put(self, text: str) -> None:
        """Above the line to write in, which stays the last."""
        self.out.write(f"\r\x1b[K{text}" if self.editor else text)
        self._drawn = ""
        self.draw()
        self.out.flush()

    def _safe(self, text: str) -> str:
        """No text may command the terminal; into a pipe it goes as it is."""
        if not self.labels:
            return text
        return UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n").replace("\t", "    "))


def _wrapped(text: str, room: int) -> list[str]:
    return [part for line in text.splitlines() or [""] for part in textwrap.wrap(line, room) or [""]]


def _lasting(status: str) -> str:
    """What is waited for, without the seconds that are left, in whatever language."""
    return COUNTDOWN.sub("", status)


def _right(label: str, dots: str) -> str:
    while width(label) > LABEL:
        label = label.removesuffix(dots)[:-1] + dots
    return " " * (LABEL - width(label)) + label


def can_draw(out: TextIO) -> bool:
    """Does the other end know where its cursor is?"""
    return out.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


@contextmanager
def key_by_key(screen: Screen) -> Iterator[int]:
    """Get every key as it is pressed, Ctrl-C included, for the length of the block; the terminal is left as it was."""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def begin(*_: Any) -> None:
        mode = termios.tcgetattr(keyboard)
        mode[0] &= ~(termios.ICRNL | termios.IXON)
        mode[3] &= ~(termios.ICANON | termios.ECHO)
        mode[6][termios.VINTR] = b"\x00"
        termios.tcsetattr(keyboard, termios.TCSADRAIN, mode)
        screen.out.write("\x1b[?2004h")  # tell pasted text from typed
        screen._drawn = ""
        screen.draw()

    resumed = signal.signal(signal.SIGCONT, begin)  # after Ctrl-Z the shell has set its own mode
    begin()
    try:
        yield keyboard
    finally:
        signal.signal(signal.SIGCONT, resumed)
        with suppress(OSError, termios.error):  # the terminal may be gone
            screen.out.write("\x1b[?2004l\r\x1b[K")
            screen.out.flush()
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
