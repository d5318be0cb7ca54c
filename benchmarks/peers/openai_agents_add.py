"""openai-agents: SQLAlchemySession.add_items on asyncpg, one item a call, committed by the library."""

import asyncio
import sys
import time
from urllib.parse import unquote, urlsplit

from agents.extensions.memory import SQLAlchemySession

TEXT = "hello there, how are you today?"


async def main() -> None:
    place = urlsplit(sys.argv[1])
    host = unquote(place.hostname or "")
    url = f"postgresql+asyncpg://{place.username}@{place.path}?host={host}&port={place.port or 5432}"
    session = SQLAlchemySession.from_url("session", url=url, create_tables=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            await session.add_items([{"role": "user", "content": TEXT}])
        print(time.perf_counter() - started, flush=True)
    await session.engine.dispose()


asyncio.run(main())
