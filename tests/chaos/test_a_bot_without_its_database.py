"""The database really goes away in mid-conversation, and the bot is killed at every step of living without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from config.database import SAFE, Cluster, throwaway
from tests.fake_telegram import TOKEN, Fake, telegram, update
from tests.patience import LONG
from tests.processes import ROOT, Running, eventually, running

PEOPLE = 40 if LONG else 4
READY = "listens by long polling"


@dataclass
class World:
    """A database that may be pulled down, Telegram, a worker and a bot."""

    cluster: Cluster
    fake: Fake
    variables: dict[str, str]

    @contextmanager
    def bot(self, **more: str) -> Iterator[Running]:
        command = [sys.executable, "manage.py", "bot", "--channel", "telegram"]
        with running(*command, **{**self.variables, **more}) as process:
            yield process

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.cluster.url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def number(self, query: str) -> int:
        [(found,)] = self.rows(query)
        return int(str(found))

    @property
    def journals(self) -> list[Path]:
        return list(Path(self.variables["DATA_DIR"], "journals").glob("*.jsonl"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with throwaway(SAFE) as server:
        environment = {"PATH": os.environ["PATH"], "DATABASE_URL": server.url}
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)
        yield server


@pytest.fixture
def world(cluster: Cluster, tmp_path: Path) -> Iterator[World]:
    """Everything but a bot; each test has people of its own, and the tables are emptied behind it."""
    with telegram() as fake:
        variables = {
            "DATABASE_URL": cluster.url,
            "DATABASE_CONNECT_TIMEOUT": "2",
            "DATA_DIR": str(tmp_path),
            "SECRET_KEY": "one secret for the bot and the worker of this test, long enough for both",
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": fake.url,
            "TELEGRAM_CHAT_GAP": "0",
            "BOT_OUTAGE_PATIENCE": "0.3",
            "INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT": "0.5",
        }
        with running(sys.executable, "manage.py", "worker", "--processes", "2", **variables):
            yield World(cluster, fake, variables)
        cluster.start()
        with psycopg.connect(cluster.url, options="-c parley.erasing=on") as connection:
            connection.execute("TRUNCATE conversations, channel_updates, outages, queue_tasks, bots CASCADE")


def say(world: World, first: int, texts: list[str]) -> int:
    """Everybody says all of it; the next free number."""
    everybody = [(text, person) for text in texts for person in range(1, PEOPLE + 1)]
    told = []
    for number, (text, person) in enumerate(everybody, first):
        sender = {"id": person, "is_bot": False, "first_name": "P"}
        told.append(update(number, f"{text} from {person}", chat={"id": person, "type": "private"}, **{"from": sender}))
    world.fake.tell(*told)
    return first + len(told)


def everything_is_there_once(world: World, texts: list[str]) -> None:
    """Each message once, in order, with one fate; every answer that Telegram took stands in the log, and no other."""
    eventually(lambda: world.number("SELECT count(*) FROM outages") == 1, "the journal is stored")
    eventually(lambda: not world.journals, "and gone")
    eventually(
        lambda: world.number("SELECT count(*) FROM message_fates") == len(texts) * PEOPLE, "every message has its fate"
    )
    pending = "SELECT count(*) FROM deliveries WHERE status IN ('pending', 'sending')"
    eventually(lambda: world.number(pending) == 0, "and every answer was sent, or is known not to be")
    for person in range(1, PEOPLE + 1):
        said = world.rows(
            "SELECT content FROM messages JOIN conversations c ON c.id = conversation_id"
            f" WHERE role = 'user' AND user_id = {person} ORDER BY message_index"
        )
        assert [text for (text,) in said] == [f"{text} from {person}" for text in texts]
    assert world.number("SELECT count(*) FROM outages WHERE rejected + damaged > 0") == 0
    assert world.number("SELECT count(*) FROM audit_log WHERE action = 'outage.stored'") >= 1
    stored = Counter(
        (int(str(user)), str(text))
        for user, text in world.rows(
            "SELECT user_id, content FROM messages JOIN conversations c ON c.id = conversation_id"
            " JOIN deliveries d ON d.message_id = messages.id WHERE role = 'assistant' AND d.status = 'sent'"
        )
    )
    doubtful = Counter(
        (int(str(user)), str(text))
        for user, text in world.rows(
            "SELECT user_id, content FROM messages JOIN conversations c ON c.id = conversation_id"
            " JOIN deliveries d ON d.message_id = messages.id WHERE role = 'assistant' AND d.status = 'unknown'"
        )
    )
    taken = Counter((one.chat_id, one.text) for one in world.fake.accepted)
    assert not stored - taken, "what is called sent has arrived"
    assert not taken - stored - doubtful, "what arrived stands in the log, or is honestly unknown; nothing came twice"


@pytest.mark.long
def test_the_database_stops_in_mid_conversation(world: World) -> None:
    with world.bot() as bot:
        bot.wait_for(READY)
        number = say(world, 1, ["hello"])
        eventually(lambda: len(world.fake.accepted) == PEOPLE, "answered as always")
        world.cluster.stop("immediate")
        number = say(world, number, ["are you there?", "I moved"])
        eventually(lambda: len(world.fake.accepted) >= 2 * PEOPLE, "answered without the database")
        eventually(lambda: len(world.fake.confirmed) == number - 1, "what is in the journal is confirmed to Telegram")
        assert all("kept that" in one.text for one in world.fake.accepted[PEOPLE:])
        answered = len(world.fake.accepted)
        world.cluster.start()
        eventually(lambda: world.number("SELECT count(*) FROM outages") == 1, "stored")
        assert len(world.fake.accepted) == answered, "no second answer"
        say(world, number, ["back again"])
        eventually(lambda: len(world.fake.accepted) == answered + PEOPLE, "and all is as before")
        everything_is_there_once(world, ["hello", "are you there?", "I moved", "back again"])
        assert bot.end() == 0


POINTS = ["in_journal_write:2", "after_outage_send"]
MORE = ["before_journal_sync:3", "after_journal_write:4", "before_outage_send"]
MORE += [f"in_journal_write:{number}" for number in range(3, 12)]


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS + (MORE if LONG else []))
def test_a_bot_killed_in_the_outage_loses_nothing(world: World, point: str) -> None:
    with world.bot(CRASH_AT=point) as bot:
        bot.wait_for(READY)
        number = say(world, 1, ["hello"])
        eventually(lambda: len(world.fake.accepted) == PEOPLE, "answered as always")
        world.cluster.stop("immediate")
        say(world, number, ["are you there?", "I moved"])
        assert bot.exit_code() == 137
    with world.bot() as bot:
        bot.wait_for(READY)
        eventually(lambda: len(world.fake.confirmed) == 3 * PEOPLE, "all of it is kept")
        world.cluster.start()
        everything_is_there_once(world, ["hello", "are you there?", "I moved"])
        assert bot.end() == 0


@pytest.mark.long
@pytest.mark.parametrize("point", ["in_replay:2", *([f"in_replay:{PEOPLE}", "after_replay"] if LONG else [])])
def test_a_bot_killed_in_the_replay_stores_everything_once(world: World, point: str) -> None:
    with world.bot(CRASH_AT=point) as bot:
        bot.wait_for(READY)
        world.cluster.stop("immediate")
        say(world, 1, ["are you there?"])
        eventually(lambda: len(world.fake.accepted) == PEOPLE, "answered without the database")
        world.cluster.start()
        assert bot.exit_code() == 137
        assert world.journals
    with world.bot() as bot:
        bot.wait_for(READY)
        everything_is_there_once(world, ["are you there?"])
        assert bot.end() == 0
