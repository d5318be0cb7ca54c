"""A Bot API on loopback that judges: it keeps what it accepted, and fails as a test tells it to.

Faults of a call: `429`, `500`, `502`, `403`, `400`, `lost` (does it, then breaks the connection), `slow` (does it, and
answers when the test lets it). A fault of a connection: `reset`, before a single byte of a request could be sent: with
TLS that is certain, as it is with the real one.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

TOKEN = "123456789:test_token_of_nobody_at_all"
BOT_ID = 123456789
TAGS = {"b", "i", "u", "s", "code", "pre", "a"}
HANG_UP = struct.pack("ii", 1, 0)  # linger for nothing: closing sends a reset


class ProxyError(Exception):
    """A proxy answers in its place, with a page for people."""


class RefusalError(Exception):
    def __init__(self, code: int, says: str, **parameters: Any) -> None:
        super().__init__(says)
        self.code, self.says, self.parameters = code, says, parameters


@dataclass(frozen=True)
class Accepted:
    chat_id: int
    text: str  # as the person reads it
    message_id: int
    params: dict[str, Any]


@dataclass
class Fake:
    """What a test sees of it."""

    url: str = ""
    certificate: str = ""
    accepted: list[Accepted] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    refused: list[tuple[float, str]] = field(default_factory=list)
    injected: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    faults: deque[str] = field(default_factory=deque)  # of the next calls to sendMessage
    dice: Callable[[], str | None] | None = None  # or of any: asked at each call
    at_connect: Callable[[], str | None] | None = None
    queue: list[dict[str, Any]] = field(default_factory=list)
    confirmed: list[int] = field(default_factory=list)
    webhook: str = ""
    secret: str = ""
    migrated: dict[int, int] = field(default_factory=dict)
    retry_after: int = 3
    username: str = "parley_test_bot"
    let_go: threading.Event = field(default_factory=threading.Event)
    news: threading.Condition = field(default_factory=threading.Condition)
    closing: bool = False
    polls: int = 0

    def texts(self, chat_id: int | None = None) -> list[str]:
        return [one.text for one in self.accepted if chat_id in (None, one.chat_id)]

    def tell(self, *updates: dict[str, Any]) -> None:
        """Updates for whoever polls."""
        with self.news:
            self.queue.extend(updates)
            self.news.notify_all()

    # --- the methods ---
    def call(self, method: str, params: dict[str, Any]) -> Any:
        with self.news:
            self.calls[method] += 1
        handler = getattr(self, f"on_{method}", None)
        if handler is None:
            raise RefusalError(404, "Not Found")
        return handler(params)

    def on_getMe(self, _params: dict[str, Any]) -> Any:
        return {"id": BOT_ID, "is_bot": True, "first_name": "Parley", "username": self.username}

    def on_setMyCommands(self, _params: dict[str, Any]) -> Any:
        return True

    def on_setWebhook(self, params: dict[str, Any]) -> Any:
        self.webhook, self.secret = params["url"], params.get("secret_token", "")
        return True

    def on_deleteWebhook(self, _params: dict[str, Any]) -> Any:
        self.webhook = ""
        return True

    def on_getWebhookInfo(self, _params: dict[str, Any]) -> Any:
        return {"url": self.webhook, "has_custom_certificate": False, "pending_update_count": len(self.queue)}

    def on_sendChatAction(self, params: dict[str, Any]) -> Any:
        self.actions.append(params)
        return True

    def on_getUpdates(self, params: dict[str, Any]) -> Any:
        if self.webhook:
            raise RefusalError(409, "Conflict: can't use getUpdates method while webhook is active")
        until = time.monotonic() + float(params.get("timeout", 0))
        with self.news:
            self.polls += 1
            if "offset" in params:
                offset = int(params["offset"])
                self.confirmed += [one["update_id"] for one in self.queue if one["update_id"] < offset]
                self.queue[:] = [one for one in self.queue if one["update_id"] >= offset]
            while not self.queue and not self.closing and (left := until - time.monotonic()) > 0:
                self.news.wait(min(left, 0.2))
            return self.queue[: int(params.get("limit", 100))]

    def on_sendMessage(self, params: dict[str, Any]) -> Any:
        with self.news:
            fault = self.faults.popleft() if self.faults else self.dice() if self.dice else None
            if fault:
                self.injected[fault] += 1
            self._refuse(fault, params)
            accepted = self._accept(params)
        if fault == "lost":
            raise ConnectionAbortedError
        if fault == "slow":
            self.let_go.wait(60)
        return accepted

    def _refuse(self, fault: str | None, params: dict[str, Any]) -> None:
        self.refused += [(time.monotonic(), fault)] if fault else []
        match fault:
            case "502":
                raise ProxyError
            case "429":
                wait = self.retry_after
                raise RefusalError(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
            case "500":
                raise RefusalError(500, "Internal Server Error: sendMessage failed")
            case "403":
                raise RefusalError(403, "Forbidden: bot was blocked by the user")
            case "400":
                raise RefusalError(400, "Bad Request: chat not found")
            case "bad":
                raise RefusalError(400, "Bad Request: wrong string length")
            case "401":
                raise RefusalError(401, "Unauthorized")
            case "markup" if params.get("parse_mode"):
                raise RefusalError(400, "Bad Request: can't parse entities: unexpected end of name token")
        if new := self.migrated.get(int(params["chat_id"])):
            says = "Bad Request: group chat was upgraded to a supergroup chat"
            raise RefusalError(400, says, migrate_to_chat_id=new)

    def _accept(self, params: dict[str, Any]) -> Any:
        text = shown(params["text"]) if params.get("parse_mode") == "HTML" else params["text"]
        if not text.strip():
            raise RefusalError(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            raise RefusalError(400, "Bad Request: message is too long")
        number = len(self.accepted) + 1
        chat_id = int(params["chat_id"])
        self.accepted.append(Accepted(chat_id, text.strip(), number, params))
        chat = {"id": chat_id, "type": "private" if chat_id > 0 else "supergroup"}
        return {"message_id": number, "date": int(time.time()), "chat": chat, "text": text}


class Shown(HTMLParser):
    """Reads markup as Telegram does: only its tags, each closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text, self.open = "", list[str]()

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002  the library calls it so
        if tag not in TAGS:
            raise RefusalError(400, f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"')
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise RefusalError(400, "Bad Request: can't parse entities: Unmatched end tag")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_entityref(self, name: str) -> None:
        self.text += unescape(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.text += unescape(f"&#{name};")


def shown(markup: str) -> str:
    parser = Shown()
    parser.feed(markup)
    parser.close()
    if parser.open:
        raise RefusalError(400, "Bad Request: can't parse entities: can't find end tag")
    return parser.text


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        place = urlsplit(self.path)
        params = dict(parse_qsl(place.query)) | dict(parse_qsl(body.decode(), keep_blank_values=True))
        _, token, method = place.path.split("/")
        try:
            if token != f"bot{TOKEN}":
                raise RefusalError(401, "Unauthorized")
            self._answer(200, {"ok": True, "result": self.server.fake.call(method, params)})
        except RefusalError as refusal:
            answer = {"ok": False, "error_code": refusal.code, "description": refusal.says}
            if refusal.parameters:
                answer["parameters"] = refusal.parameters
            self._answer(refusal.code, answer)
        except ProxyError:
            self._send(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")
        except ConnectionAbortedError:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
            self.close_connection = True

    def do_GET(self) -> None:
        self.do_POST()

    def _answer(self, code: int, answer: dict[str, Any]) -> None:
        self._send(code, json.dumps(answer).encode(), "application/json")

    def _send(self, code: int, data: bytes, kind: str) -> None:
        self.close_connection = True
        with suppress(OSError):  # whoever asked may be gone
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        """Silent."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fake: Fake, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fake, self.tls = fake, tls

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        fault = self.fake.at_connect() if self.fake.at_connect else None
        if fault == "reset":
            with self.fake.news:
                self.fake.injected["reset"] += 1
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
            request.close()
            return
        if self.tls:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except OSError:
                request.close()
                return
        super().process_request_thread(request, client_address)

    def handle_error(self, *_args: Any) -> None:
        """Broken connections are what we are here for."""

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):
            request.close()


@contextmanager
def telegram(*, tls: Path | None = None) -> Iterator[Fake]:
    """A server for the length of the block; with `tls` a folder for its certificate."""
    fake = Fake()
    context = None
    if tls:
        fake.certificate = certificate(tls)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(fake.certificate, str(tls / "key.pem"))
    server = Server(fake, context)
    fake.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.closing = True
        fake.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def certificate(folder: Path) -> str:
    """For 127.0.0.1, made on the spot: no key lies in the repository."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-days", "2"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return str(folder / "cert.pem")


# --- updates as Telegram makes them ---


def update(number: int, text: str | None = "hello", *, kind: str = "message", **message: Any) -> dict[str, Any]:
    """A message of person 7 in their own chat, unless said otherwise."""
    person = {"id": 7, "is_bot": False, "first_name": "Ада", "username": "ada", "language_code": "ru"}
    said: dict[str, Any] = {
        "message_id": number,
        "date": 1_700_000_000 + number,
        "chat": {"id": 7, "type": "private", "first_name": "Ада"},
        "from": person,
        **({} if text is None else {"text": text}),
        **message,
    }
    return {"update_id": number, kind: {name: value for name, value in said.items() if value is not None}}
