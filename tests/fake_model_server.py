"""A model's server on a real socket, as rude as told to: it answers from a script, one entry per request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Ask = dict[str, Any]  # the body of a request


@dataclass(frozen=True)
class Say:
    """A good answer, streamed."""

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()  # tools by name, with arguments: a str is sent as it is
    finish: str | None = None
    tokens: int | None = 10  # None: the server does not count
    call_id: str | None = None  # a server that gives every call the same id


@dataclass(frozen=True)
class Status:
    """An error by its number."""

    code: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = '{"error": {"message": "no", "type": "x", "code": null}}'


@dataclass(frozen=True)
class Garbage:
    """200, and then something else."""

    body: bytes = b"<html>It works!</html>"
    content_type: str = "text/html"


@dataclass(frozen=True)
class Cut:
    """The connection breaks in the middle of an answer."""

    text: str = "I was about to"
    cleanly: bool = True  # the chunks end as if that were all


@dataclass(frozen=True)
class Hang:
    """Nothing comes; or, with `trickle`, only comments that keep every socket timeout away."""

    trickle: bool = False


@dataclass(frozen=True)
class Events:
    """The frames of a stream exactly as they are given."""

    frames: tuple[dict[str, Any], ...]


Answer = Events | Say | Status | Garbage | Cut | Hang
Script = Callable[[Ask], Answer]


@dataclass
class Server:
    """What it was asked, and what it answers next; the last entry of the script repeats."""

    url: str
    script: list[Answer] | Script = field(default_factory=lambda: [Say("Hello.")])
    asked: list[Ask] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, ask: Ask) -> Answer:
        with self.lock:
            self.asked.append(ask)
            if callable(self.script):
                return self.script(ask)
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: Server

    def log_message(self, *_args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        ask = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.answer(self.fake.next(ask))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def answer(self, answer: Answer) -> None:
        match answer:
            case Status(code, headers, body):
                self.whole(code, body.encode(), "application/json", headers)
            case Garbage(body, content_type):
                self.whole(200, body, content_type)
            case Hang(trickle):
                self.hang(trickle)
            case Cut(text, cleanly):
                self.begin()
                self.chunk({"delta": {"role": "assistant", "content": text}, "finish_reason": None})
                if cleanly:
                    self.raw(b"")
                self.close_connection = True
            case Events(frames):
                self.begin()
                for frame in frames:
                    self.event(frame)
                self.raw(b"data: [DONE]\n\n")
                self.raw(b"")
            case Say():
                self.say(answer)

    def say(self, said: Say) -> None:
        self.begin()
        for word in said.text.split(" ") if said.text else []:
            self.chunk({"delta": {"role": "assistant", "content": f"{word} "}, "finish_reason": None})
        for index, (name, arguments) in enumerate(said.calls):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            call = {"index": index, "id": said.call_id or f"id-{len(self.fake.asked)}-{index}", "type": "function"}
            function = {"name": name, "arguments": text}
            self.chunk({"delta": {"tool_calls": [{**call, "function": function}]}, "finish_reason": None})
        self.chunk({"delta": {}, "finish_reason": said.finish or ("tool_calls" if said.calls else "stop")})
        if said.tokens is not None:
            usage = {"prompt_tokens": said.tokens, "completion_tokens": said.tokens, "total_tokens": 2 * said.tokens}
            self.event({"choices": [], "usage": usage})
        self.raw(b"data: [DONE]\n\n")
        self.raw(b"")

    def hang(self, trickle: bool) -> None:
        if trickle:
            self.begin()
        while not self.fake.over.wait(0.05):
            if trickle:
                self.raw(b": still thinking\n\n")
        self.close_connection = True

    # --- the wire ---
    def whole(self, code: int, body: bytes, kind: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response(code)
        for name, value in (("content-type", kind), ("content-length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, choice: dict[str, Any]) -> None:
        self.event({"choices": [{"index": 0, **choice}]})

    def event(self, data: dict[str, Any]) -> None:
        frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "fake", **data}
        self.raw(f"data: {json.dumps(frame)}\n\n".encode())

    def raw(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


@contextmanager
def model_server() -> Iterator[Server]:
    """A server for the length of the block."""
    handler = type("Bound", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    fake = Server(f"http://127.0.0.1:{server.server_port}/v1")
    handler.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
