"""manage.py reindex: the search index made anew, or proved; a run that was interrupted goes on where it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.columns import clock
from config.progress import Bar
from search import coverage, embedding, reindexing, spaces, vector_index
from search.declarations import declared
from search.models import Space, Status, Walk
from search.reindexing import Page, Verdict


class Command(BaseCommand):
    help = "Bring the search index up to date with its sources; --verify compares the two and mends what is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--type", action="append", dest="types", metavar="TYPE", help="only this type; repeatable")
        parser.add_argument("--space", type=int, help="only the vectors and the index of the space with this id")
        parser.add_argument(
            "--verify", action="store_true", help="tell what is missing, stale or orphaned, and mend it"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="with --verify: only tell; exit code 1 if anything is"
        )
        parser.add_argument("--restart", action="store_true", help="begin anew where a former run was interrupted")
        parser.add_argument("--words-only", action="store_true", help="leave the vectors to the worker")

    def handle(self, **options: Any) -> None:
        types = self._types(options["types"])
        reindexing.prepare()
        if options["restart"]:
            Walk.objects.all().delete()
        if options["space"] is None:
            self._texts(types, verify=options["verify"], dry_run=options["dry_run"])
        if not options["words_only"] and not options["dry_run"]:
            self._vectors(options["space"])

    def _types(self, asked: Sequence[str] | None) -> list[str]:
        known = declared()
        for entity_type in asked or ():
            if entity_type not in known:
                raise CommandError(f"Nothing is declared as {entity_type}; there are {', '.join(known)}.")
        return list(dict.fromkeys(asked or known))

    def _texts(self, types: list[str], *, verify: bool, dry_run: bool) -> None:
        verdict = Verdict()
        for entity_type in types:
            if verify:
                pages = lambda after, of=entity_type: reindexing.verify(of, after=after, repair=not dry_run)  # noqa: E731
            else:
                pages = lambda after, of=entity_type: reindexing.reindex(of, after=after)  # noqa: E731
            kind = "dry" if dry_run else "verify" if verify else "reindex"
            verdict += self._walk(kind, entity_type, pages)
        if not verify:
            self.stdout.write(f"{verdict.checked:,} rows looked at, {verdict.stale:,} entries written or removed.")
            return
        verdict += reindexing.verify_remains(types, repair=not dry_run)
        verdict += reindexing.undeclared(repair=False)
        self._tell(verdict, mended=not dry_run)
        if dry_run and verdict.wrong:
            raise SystemExit(1)

    def _walk(self, kind: str, entity_type: str, pages: Callable[[UUID | None], Iterator[Page]]) -> Verdict:
        """Page after page, each noted when it is done."""
        name = json.dumps([kind, entity_type])
        walk, made = Walk.objects.get_or_create(name=name)
        if not made and walk.upto:
            self.stdout.write(f"{entity_type}: going on after {walk.checked:,} rows (--restart begins anew).")
        verdict, bar = Verdict(), Bar(sys.stderr, reindexing.total([entity_type]), f"of {entity_type}")
        for page in pages(walk.upto):
            verdict += page.verdict
            walk.checked += page.verdict.checked
            Walk.objects.filter(pk=name).update(upto=page.upto, checked=walk.checked, updated_at=clock())
            bar(walk.checked)
        bar.close()
        Walk.objects.filter(pk=name).delete()
        return verdict

    def _vectors(self, only: int | None) -> None:
        """What the worker would do, here and now; both may work at it together."""
        spaces_ = Space.objects.exclude(status=Status.RETIRED).order_by("status")
        chosen = [space for space in spaces_ if only is None or space.pk == only]
        if only is not None and not chosen:
            raise CommandError(f"There is no living space {only}.")
        for space in chosen:
            self._copy(space)
            self._embed(space)
            coverage.recount(space)
        for step in spaces.step(seconds=3600):
            self.stdout.write(f"{step}: done")

    def _copy(self, space: Space) -> None:
        """Texts of the former space, for the one that is being built."""
        bar, copied = Bar(sys.stderr, None, f"texts for {space}"), 0
        while space.status == Status.BUILDING and (more := spaces.copy_batch(space)):
            copied += more
            bar(copied)
        bar.close()

    def _embed(self, space: Space) -> None:
        embedder = spaces.embedder_of(space)
        if embedder is None:
            self.stdout.write(f"{space}: no embedder for it here, so its texts wait.")
            return
        embedding.try_again(space)
        bar, made = Bar(sys.stderr, coverage.count(space).pending, f"vectors of {space}"), 0
        while embedding.due(space):
            batch = embedding.embed_batch(space, embedder)
            made += batch.made
            bar(made)
            if batch.paused:
                bar.close()
                space.refresh_from_db()
                raise CommandError(f"The embedder has no vectors: {space.error} The worker tries again by itself.")
        bar.close()
        left = coverage.count(space)
        told = f"{space}: {left.embedded:,} of {left.entries:,} embedded"
        self.stdout.write(f"{told}, {left.failed:,} refused, index {vector_index.progress(space):.0%}.")

    def _tell(self, verdict: Verdict, *, mended: bool) -> None:
        for name in ("checked", "missing", "stale", "orphans", "dead"):
            self.stdout.write(f"{name:<10}{getattr(verdict, name):>12,}")
        for example in verdict.examples:
            self.stdout.write(f"  {example}")
        if not verdict.wrong:
            self.stdout.write(self.style.SUCCESS("The index says what its sources say."))
        else:
            self.stdout.write("Mended." if mended else "Run it without --dry-run to mend it.")
