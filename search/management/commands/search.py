"""manage.py search "what was meant": the search page for a terminal."""

import json
from argparse import ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from config.text import plain
from search import coverage, naming
from search.declarations import declared
from search.query import DEGRADED, MODES, MOST, ExactCheck, Hit, Results, SearchError, exact_check, search


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError("write it as name=value")
    return name, value


class Command(BaseCommand):
    help = "Find what was said, and everything else that can be found, by meaning and by word."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("text", nargs="+", help='in your own words, "an exact phrase", -without')
        parser.add_argument("--mode", choices=MODES, default="hybrid")
        parser.add_argument("--type", action="append", metavar="NAME", help="only this kind of thing; may be repeated")
        parser.add_argument("--user", type=int, metavar="ID", help="only what belongs to this user")
        parser.add_argument(
            "--filter", action="append", type=pair, default=[], metavar="NAME=VALUE",
            help="agent, role, session_id, after, before, deleted; any other name is one of the metadata",
        )  # fmt: skip
        parser.add_argument("--limit", type=int, default=10, help=f"from 1 to {MOST}")
        parser.add_argument("--exact", action="store_true", help="compare the index of vectors with an exact scan")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *, text: list[str], mode: str, limit: int, exact: bool, **options: Any) -> None:
        question = " ".join(text)
        narrowing = {"user_id": options["user"], "entity_types": options["type"], "filters": filters(options["filter"])}
        try:
            found = search(question, mode=mode, limit=limit, **narrowing)
            check = exact_check(question, limit=limit, **narrowing) if exact else None
        except SearchError as error:
            raise CommandError(f"{error.field}: {error}" if error.field else str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(as_json(found, check), cls=DjangoJSONEncoder, ensure_ascii=False, indent=2))
            return
        self._tell(found)
        if check is not None:
            self._tell_check(check)

    def _tell(self, found: Results) -> None:
        titles = naming.titles(found.hits)
        for number, hit in enumerate(found.hits, start=1):
            self._tell_hit(number, hit, titles.get(hit.entity_id, ""))
        for name in found.degraded:
            self.stdout.write(self.style.WARNING(DEGRADED.get(name, name)))
        covered = found.coverage
        told = f"{len(found.hits)} found in {found.took_ms:.0f} ms; {covered.embedded:,} of {covered.entries:,} entries"
        self.stdout.write(f"{told} can be found by meaning, all by word")
        if waiting := coverage.not_indexed_yet():
            self.stdout.write(self.style.WARNING(f"{waiting} They cannot be found."))

    def _tell_hit(self, number: int, hit: Hit, title: str) -> None:
        place = plain(title) or f"{hit.entity_type} {hit.entity_id}"
        when = f", {hit.at:%Y-%m-%d}" if hit.at else ""
        role = f", {plain(str(hit.metadata['role']))}" if hit.metadata.get("role") else ""
        self.stdout.write(f"{number:>3}. {self.style.MIGRATE_HEADING(place)}{role}{when}   {ranks(hit)}")
        text = "".join(
            self.style.SUCCESS(plain_part(part.text)) if part.marked else plain_part(part.text) for part in hit.snippet
        )
        self.stdout.write(f"     {text}")
        searchable = declared().get(hit.entity_type)
        if searchable and (link := searchable.link(hit)):
            self.stdout.write(f"     {link}")

    def _tell_check(self, check: ExactCheck) -> None:
        self.stdout.write(
            f"Exact check: recall {check.recall:.0%}; the index took {check.index_ms:.1f} ms, comparing all "
            f"{check.candidates:,} vectors {check.exact_ms:.1f} ms; this search used the {check.scan} scan"
        )


def filters(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Names that search knows are its filters, the others stand for keys of the metadata."""
    known = {"agent", "role", "session_id", "after", "before", "deleted"}
    found: dict[str, Any] = {name: value for name, value in pairs if name in known}
    if rest := {name: scalar(value) for name, value in pairs if name not in known}:
        found["metadata"] = rest
    return found


def scalar(text: str) -> Any:
    """Metadata holds numbers and truths, too."""
    try:
        value = json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, dict | list) else value


def ranks(hit: Hit) -> str:
    told = []
    if hit.ranks["vector"]:
        near = f" ({hit.similarity:.2f})" if hit.similarity is not None else ""
        told.append(f"meaning #{hit.ranks['vector']}{near}")
    if hit.ranks["keyword"]:
        told.append(f"words #{hit.ranks['keyword']}")
    return ", ".join(told)


def plain_part(text: str) -> str:
    """One line of what somebody else wrote; what a terminal would obey is spelled out, spaces at the edges stay."""
    shown = plain(text)
    before = " " if text[:1].isspace() else ""
    after = " " if text[-1:].isspace() and shown else ""
    return f"{before}{shown}{after}"


def as_json(found: Results, check: ExactCheck | None) -> dict[str, Any]:
    hits = [
        {
            "entity_type": hit.entity_type,
            "entity_id": hit.entity_id,
            "content": hit.content,
            "snippet": "".join(part.text for part in hit.snippet),
            "score": hit.score,
            "ranks": hit.ranks,
            "similarity": hit.similarity,
            "user_id": hit.user_id,
            "metadata": hit.metadata,
            "at": hit.at,
        }
        for hit in found.hits
    ]
    told = {"results": hits, "mode": found.mode, "took_ms": found.took_ms, "degraded": found.degraded}
    told |= {"coverage": {name: getattr(found.coverage, name) for name in ("entries", "embedded", "pending", "failed")}}
    if check is not None:
        told["check"] = {"recall": check.recall, "index_ms": check.index_ms, "exact_ms": check.exact_ms}
    return told
