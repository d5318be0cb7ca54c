"""The guide for tools: its code declares a tool that the registry takes."""

from __future__ import annotations

import re
from pathlib import Path
from unittest.mock import patch

from agents import schemas
from agents.tools import TOOLS

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "tools.md"


def test_the_example_declares_a_tool() -> None:
    [code] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    with patch.dict(TOOLS):
        exec(compile(code, "orders.py", "exec"), {"__name__": "shoptools.orders"})  # noqa: S102  the guide's own code
        declared = TOOLS["refund_order"]
    assert (declared.outside, declared.high_impact, declared.timeout) == (True, True, 20)
    schemas.check(declared.schema)
    assert schemas.problems(declared.schema, {"order": "A-1"}) == []
