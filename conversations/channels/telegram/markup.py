"""The little markup that agents write, as Telegram's HTML: bold and code. Everything else arrives as it was written."""

from __future__ import annotations

import re
from html import escape

# Pairs only, within a part: what is open at its end stays the characters it is.
MARKS = re.compile(
    r"```(?:[A-Za-z0-9_+-]{1,20}\n|\n)?(?P<block>(?=[^`]*[^`\s])[^`]+?)\n?```"
    r"|`(?P<code>(?=[^`\n]*[^`\s])[^`\n]+)`"
    r"|\*\*(?P<bold>[^\s*](?:[^*\n]*[^\s*])?)\*\*"
)
TAGS = {"block": "pre", "code": "code", "bold": "b"}


def html(text: str) -> str:
    """No character of the text can be taken for a tag, and every tag that is opened is closed."""
    done, position = [], 0
    for match in MARKS.finditer(text):
        kind = match.lastgroup or ""
        done += [_safe(text[position : match.start()]), f"<{TAGS[kind]}>", _safe(match[kind]), f"</{TAGS[kind]}>"]
        position = match.end()
    return "".join([*done, _safe(text[position:])])


def _safe(text: str) -> str:
    return escape(text, quote=False)
