"""A bot's journal on disk, for the time its database is away: what was heard and answered, durable line by line.

Each line is JSON with a checksum over its record. A line is whole or it does not count: a last line that a crash tore
is cut off, a broken one in the middle is set aside and told of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings

from config.crash import crash_point
from conversations.channels import ChannelError, ChannelUnavailableError

logger = structlog.get_logger(__name__)

Record = dict[str, Any]


class JournalFullError(ChannelError):
    """The journal takes no more: the update must stay where it is."""

    permanent = False


class Journal:
    """One per account and machine; nobody else may have it open."""

    def __init__(self, channel: str, account: str) -> None:
        folder = settings.BOT_JOURNALS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.channel, self.account = channel, account
        self.path: Path = folder / f"{_file_name(channel, account)}.jsonl"
        self._lock = _locked(self.path.with_suffix(".lock"), f"{channel} {account}")
        self._file: int | None = None
        self._size = 0
        self.id: UUID | None = None
        self.began_at = datetime.now(UTC)
        self.damaged = 0
        self.records: list[Record] = []
        if self.path.exists():
            self._load()

    @property
    def is_empty(self) -> bool:
        return self.id is None

    def write(self, record: Record) -> None:
        """Keep the record; when this returns it is on the disk. Raises JournalFullError, and keeps nothing."""
        if self.id is None:
            self._begin()
        self._append(record)
        self.records.append(record)

    def clear(self) -> None:
        """Everything in it is in the database now. The file goes: it holds what people wrote."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self.path.unlink(missing_ok=True)
        _sync_folder(self.path.parent)
        self.id, self.records, self._size, self.damaged = None, [], 0, 0

    def reject(self, record: Record, reason: str) -> None:
        """Set aside what the database refused, for staff to look at."""
        _append_line(self.path.with_suffix(".rejected"), _line({**record, "reason": reason}))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        os.close(self._lock)

    def _begin(self) -> None:
        self.id, self.began_at = uuid.uuid4(), datetime.now(UTC)
        head = {
            "kind": "journal", "id": str(self.id), "channel": self.channel, "account": self.account,
            "began_at": self.began_at.isoformat(),
        }  # fmt: skip
        try:
            self._append(head)
        except JournalFullError:
            self.id = None
            raise
        _sync_folder(self.path.parent)

    def _append(self, record: Record) -> None:
        line = _line(record)
        if self._size + len(line) > settings.BOT_JOURNAL_LIMIT:
            raise JournalFullError(f"The journal {self.path} has reached BOT_JOURNAL_LIMIT.")
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            crash_point("before_journal_write")
            half = len(line) // 2
            _write_all(self._file, line[:half])
            crash_point("in_journal_write")
            _write_all(self._file, line[half:])
            crash_point("before_journal_sync")
            os.fsync(self._file)
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)
            raise JournalFullError(f"The journal {self.path} cannot be written: {error.strerror}.") from error
        self._size += len(line)
        crash_point("after_journal_write")

    def _load(self) -> None:
        """What was written before this process began."""
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            logger.warning("journal ended in the middle of a line", journal=self.path.name, bytes=len(content) - whole)
        read = [_record(line) for line in content[:whole].splitlines()]
        broken = [number for number, record in enumerate(read) if record is None]
        records = [record for record in read if record is not None]
        if broken:
            _append_line(self.path.with_suffix(".damaged"), content)
            logger.error("journal has unreadable lines", journal=self.path.name, lines=len(broken))
        if not records:
            self.clear()
            return
        head = records[0] if records[0]["kind"] == "journal" else {}
        self.id = UUID(head["id"]) if head else uuid.uuid5(uuid.NAMESPACE_OID, content[:whole].hex())
        self.began_at = datetime.fromisoformat(head["began_at"]) if head else datetime.now(UTC)
        self.records = records[1:] if head else records
        self.damaged, self._size = len(broken), whole
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._file, whole)
        os.fsync(self._file)


def _line(record: Record) -> bytes:
    return json.dumps({"sum": _sum(record), "record": record}, separators=(",", ":")).encode() + b"\n"


def _record(line: bytes) -> Record | None:
    """What the line holds; None where it is not what was written."""
    try:
        found = json.loads(line)
        record: Record = found["record"]
        return record if found["sum"] == _sum(record) and isinstance(record["kind"], str) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _sum(record: Record) -> str:
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _file_name(channel: str, account: str) -> str:
    """Readable, harmless, and different for different accounts."""
    digest = hashlib.blake2b(json.dumps([channel, account]).encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^a-z0-9]+', '-', f'{channel} {account}'.lower()).strip('-')[:60]}-{digest}"


def _locked(path: Path, who: str) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise ChannelUnavailableError(
            f"Another process on this machine serves {who} already: stop it first."
        ) from error
    return lock


def _append_line(path: Path, line: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _write_all(file, line)
        os.fsync(file)
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    """Or a crash of the machine may lose the file's very name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
