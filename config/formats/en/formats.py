"""English: the day before the month's name, or year first, so that nobody takes 11/26 for the wrong one; 24 hours."""

DATE_FORMAT = "j\u00a0M\u00a0Y"
DATETIME_FORMAT = "j\u00a0M\u00a0Y, H:i\u00a0T"
SHORT_DATE_FORMAT = "Y-m-d"
SHORT_DATETIME_FORMAT = "Y-m-d H:i\u00a0T"
TIME_FORMAT = "H:i"
