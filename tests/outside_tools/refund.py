"""Refunds at a server that counts them, in both ways to write a function."""

from __future__ import annotations

import os
from urllib.request import Request, urlopen

from django.db import connection

from agents.tools import Call, tool

SCHEMA = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}


@tool("refund", "Pay an order back.", schema=SCHEMA, outside=True, high_impact=True, timeout=5)
def refund(call: Call, order: str) -> str:
    assert not connection.in_atomic_block
    request = Request(os.environ["REFUNDS"], order.encode(), {"Idempotency-Key": call.idempotency_key}, method="POST")
    with urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())


@tool("refund_async", "Pay an order back.", schema=SCHEMA, outside=True, high_impact=True, timeout=5)
async def refund_async(call: Call, order: str) -> str:
    return refund(call, order)
