"""Lets time pass without waiting for it: every due time in the database moves towards the past.

The database's own clock decides everything, so moving the rows is the same as moving the clock.
"""

from datetime import timedelta

from django.db import connection

COLUMNS = {
    "message_buffers": ["flush_at", "deadline", "created_at", "last_updated_at"],
    "turns": ["next_attempt_at", "lease_until", "due_at", "created_at"],
    "deliveries": ["next_attempt_at", "slot_at", "lease_until"],
    "delivery_gates": ["next_at", "paused_until"],
    "queue_tasks": ["due_at", "lease_until"],
}


def let_pass(seconds: float) -> None:
    with connection.cursor() as cursor:
        for table, columns in COLUMNS.items():
            moves = ", ".join(f"{column} = {column} - %(by)s" for column in columns)
            cursor.execute(f"UPDATE {table} SET {moves}", {"by": timedelta(seconds=seconds)})
