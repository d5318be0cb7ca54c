"""Russian: Django's, with the zone."""

DATETIME_FORMAT = "j\u00a0E\u00a0Y, H:i\u00a0T"
SHORT_DATETIME_FORMAT = "d.m.Y H:i\u00a0T"
