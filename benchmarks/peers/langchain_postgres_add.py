"""langchain-postgres: PostgresChatMessageHistory.add_messages, one message a call, committed by the library."""

import sys
import time
import uuid

import psycopg
from langchain_core.messages import HumanMessage
from langchain_postgres import PostgresChatMessageHistory

TEXT = "hello there, how are you today?"

with psycopg.connect(sys.argv[1]) as connection:
    PostgresChatMessageHistory.create_tables(connection, "langchain_history")
    history = PostgresChatMessageHistory("langchain_history", str(uuid.uuid4()), sync_connection=connection)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            history.add_messages([HumanMessage(TEXT)])
        print(time.perf_counter() - started, flush=True)
