"""The loop of `bot --channel console`: keys or lines in, answers out, until the person leaves or the pipe ends."""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from django.conf import settings
from django.utils.translation import gettext as _

from agents.offline import known
from conversations.channels import ChannelUnavailableError, Order
from conversations.channels.console import updates
from conversations.channels.console.chat import Chat
from conversations.channels.console.editor import Asked, Editor
from conversations.channels.console.helper import helping, prepare
from conversations.channels.console.transport import Screen, can_draw, key_by_key
from conversations.outage import Outage

REDRAW = 0.25  # seconds between two looks at what the line says
SIGNS_EVERY = 2.0  # seconds between two signs that the person is writing
LOOK_FOR_WORKER = 5.0  # seconds between two looks for somebody who answers
TERMINALS = 50  # of one person at one machine


def run(order: Order) -> None:
    """Chat until the person leaves, the pipe ends and is answered, or a signal comes."""
    typed = sys.stdin.isatty()
    draws = typed and can_draw(sys.stdout)
    labels = sys.stdout.isatty()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    if sys.stderr.isatty():
        _log_to_file()
    prepare(lambda line: print(f"{line} ...", file=sys.stderr, flush=True))  # noqa: T201  before there is a screen
    screen = Screen(sys.stdout, editor=Editor() if draws else None, labels=labels)
    with ExitStack() as stack:
        helper = stack.enter_context(helping())
        if helper.needed():
            helper.start()
        outage = _outage(stack, order, screen)
        chat = Chat(order, screen, helper, outage, name=known(order.agent).name)
        screen.speaker = chat.name
        stack.enter_context(chat.opened())
        if typed:
            screen.note(_("You talk to %s. Write as many messages as you like; /help tells more.") % chat.name)
        if screen.editor is not None:
            _keys(chat, screen.editor)
        else:
            _lines(chat)


def _outage(stack: ExitStack, order: Order, screen: Screen) -> Outage:
    """Each terminal has a journal of its own; the first that is free, which may be one that somebody left behind."""
    for number in range(1, TERMINALS + 1):
        outage = Outage(
            order,
            f"{updates.who(order)} {order.agent} {number}",
            take=partial(updates.take, order),
            heard=partial(updates.heard, order),
            place=lambda _update: updates.conversation(order).id,
            transport=lambda: screen,
        )
        try:
            return stack.enter_context(outage)
        except ChannelUnavailableError:
            continue
    raise ChannelUnavailableError(f"{TERMINALS} terminals are open already.")


def _typed(chat: Chat) -> Iterator[bytes | None]:
    """What the keyboard sends, b"" once at its end, and None for a look around: what happened is on the screen."""
    keyboard, looked, ended = sys.stdin.fileno(), time.monotonic(), False
    while not chat.order.stop.asked:
        chat.catch_up()
        chat.screen.show(chat.status())
        yield None
        inputs = [chat.woken, chat.order.stop.fileno(), *([] if ended else [keyboard])]
        ready = select.select(inputs, [], [], REDRAW)[0]
        if chat.woken in ready:
            os.read(chat.woken, 4096)
        if time.monotonic() - looked > LOOK_FOR_WORKER:
            looked = time.monotonic()
            chat.look_for_worker()
        if keyboard in ready:
            data = os.read(keyboard, 65536)
            ended = not data
            yield data


def _keys(chat: Chat, editor: Editor) -> None:
    """A terminal that can draw: the line to write in stays where it is while answers arrive above it."""
    signed = 0.0
    with key_by_key(chat.screen):
        for data in _typed(chat):
            if data is None:
                continue
            for asked in editor.feed(data) if data else [Asked.QUIT]:
                if asked is Asked.CLEAR_SCREEN:
                    chat.screen.clear()
                elif asked is Asked.QUIT or (isinstance(asked, str) and not chat.enter(asked)):
                    return
                signed = 0.0  # the first key after a message tells at once that more is to come
            if editor.text and not editor.text.startswith("/") and time.monotonic() - signed > SIGNS_EVERY:
                signed = time.monotonic()
                chat.sign()


def _lines(chat: Chat) -> None:
    """A pipe, or a terminal that cannot draw: lines in, lines out; a pipe's end waits for the last answer."""
    rest, ended = b"", False
    for data in _typed(chat):
        if data is None:
            if ended and chat.is_over():
                return
            continue
        *lines, rest = (rest + data).split(b"\n") if data else [rest, b""]
        for line in lines:
            if not chat.enter(line.decode(errors="replace").rstrip("\r")):
                return
        ended = not data


def _log_to_file() -> None:
    """Log lines between the messages would be in the way."""
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    path = settings.DATA_DIR / "console.log"
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(file)
