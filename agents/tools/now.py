"""Date and time, by the database's clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db import connection

from agents.tools import Call, tool


@tool(
    "now",
    "Tells the current date, time and day of the week.",
    schema={"properties": {"time_zone": {"type": "string", "maxLength": 64, "description": "such as Europe/Berlin"}}},
)
def now(_call: Call, time_zone: str | None = None) -> dict[str, str]:
    try:
        zone = ZoneInfo(time_zone or settings.TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return {"error": "There is no such time zone; one is named like Europe/Berlin."}
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    local = moment.astimezone(zone)
    return {"now": local.isoformat(timespec="seconds"), "weekday": local.strftime("%A"), "time_zone": zone.key}
