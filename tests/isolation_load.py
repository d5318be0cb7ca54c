"""Many users share few pooled connections: `python -m tests.isolation_load USERS READS SEED` against DATABASE_URL.

Prints one JSON line: reads done, rows of strangers seen, own rows missed, and what was broken on the way on purpose.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from collections import Counter

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
os.environ["DATABASE_POOL"] = "true"
os.environ["DATABASE_POOL_WAIT"] = "60"

import django
import psycopg
from django.db import DatabaseError, connection

THREADS, MESSAGES = 50, 2


class ChangedMyMindError(Exception):
    """An abort on purpose."""


def main() -> None:
    django.setup()
    users, reads, seed = map(int, sys.argv[1:4])
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO conversations (user_id) SELECT n FROM generate_series(1, %s) n", [users])
        cursor.execute(
            "INSERT INTO messages (conversation_id, message_index, role, content)"
            " SELECT id, n, 'user', user_id::text FROM conversations, generate_series(0, %s) n",
            [MESSAGES - 1],
        )
        cursor.execute("ANALYZE")
    connection.close()
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def work(number: int) -> None:
        chance = random.Random(seed * THREADS + number)  # noqa: S311
        mine = one_thread(chance, users, reads // THREADS)
        with lock:
            seen.update(mine)

    threads = [threading.Thread(target=work, args=[number]) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    connection.close_pool()
    print(json.dumps(seen))  # noqa: T201


def one_thread(chance: random.Random, users: int, reads: int) -> Counter[str]:
    from conversations.isolation import acting_as

    seen: Counter[str] = Counter()
    while seen["reads"] < reads:
        user = chance.randint(1, users)
        try:
            if chance.random() < 0.05:
                outside(seen, users)
                continue
            with acting_as(user):
                break_something(chance, seen)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT content FROM messages LIMIT 10")
                    contents = [content for (content,) in cursor.fetchall()]
                seen["reads"] += 1
                seen["foreign"] += sum(content != str(user) for content in contents)
                seen["missed"] += MESSAGES - len(contents)
        except (ChangedMyMindError, DatabaseError) as error:
            seen[f"aborted by {type(error).__name__}"] += 1
        finally:
            connection.close()  # what the end of a request does: back to the pool
    return seen


def outside(seen: Counter[str], users: int) -> None:
    """A task of the service between two requests: it is nobody's, and sees everybody's."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user = session_user, current_setting('parley.user_id', true)")
        itself, user = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM conversations")
        seen["leaked roles"] += (not itself) or bool(user) or cursor.fetchone()[0] != users
        seen["service reads"] += 1


def break_something(chance: random.Random, seen: Counter[str]) -> None:
    """One time in five the request dies between entering and reading."""
    match chance.randint(0, 19):
        case 0:
            raise ChangedMyMindError
        case 1:
            connection.cursor().execute("SELECT 1 / 0")
        case 2:
            with psycopg.connect(os.environ["DATABASE_URL"]) as operator:
                operator.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
        case 3:
            try:
                connection.cursor().execute("SELECT * FROM api_keys")
            except DatabaseError:
                seen["refused tables"] += 1
                raise


if __name__ == "__main__":
    main()
