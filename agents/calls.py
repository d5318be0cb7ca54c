"""Calls of tools: checked, run once with the end user's rights, and on record whatever came of them.

The row of a call and the effect of a call are one transaction, and (turn, number) is unique: of two runners, or of one
that was too slow and the clock that gave it up, only the first to write has happened.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeVar

import structlog
from asgiref.sync import async_to_sync
from django.db import IntegrityError, InterfaceError, OperationalError, ProgrammingError, connection, transaction
from psycopg.errors import InsufficientPrivilege

from agents import rights, schemas, toolbox
from agents.allowlist import ModuleRefusedError
from agents.models import CallStatus, ToolCall
from agents.models import Tool as Row
from agents.models.agent import Agent
from agents.refusals import record_refusal
from agents.text import storable
from agents.tools import TOOLS, Call, NotDone, Tool
from config import origin
from config.columns import clock
from config.crash import crash_point
from config.origin import Origin

logger = structlog.get_logger(__name__)
Result = TypeVar("Result")

LONGEST = 8_000  # characters of a result a model is shown
NOT_JSON = "arguments that are not JSON"  # the key under which such arguments are kept
NOT_SENT = frozenset(
    {
        "NotDone",
        "ConnectError",
        "ConnectTimeout",
        "ConnectionRefusedError",
        "PoolTimeout",
        "gaierror",
        "NewConnectionError",
        "ConnectTimeoutError",
        "NameResolutionError",
    }
)  # names: the libraries a tool may use need not be installed
NOT_KNOWN = "It is not known whether this happened: the run was interrupted. It is not tried again."
SHOWN = {
    CallStatus.STARTED: NOT_KNOWN,
    CallStatus.UNKNOWN: NOT_KNOWN,
    CallStatus.WAITING: "This needs the approval of staff and waits for it. It has not happened yet. Say so.",
    CallStatus.APPROVED: "This was approved and will be done. It has not happened yet. Say so.",
    CallStatus.DENIED: "Staff did not approve this. It has not happened. Say so.",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool this agent may use now: the code, and what its row says."""

    tool: Tool
    description: str
    schema: dict[str, Any]
    high_impact: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model asked for."""

    name: str
    arguments: dict[str, Any]


def offered(agent: Agent, names: tuple[str, ...]) -> dict[str, Offer]:
    """What of these names is in the code, switched on in the registry, and meant for this agent."""
    rows = {row.name: row for row in Row.objects.usable_by(agent).filter(name__in=names)} if names else {}
    offers = {}
    for name in names:
        tool = code_of(rows[name]) if name in rows else None
        if tool is not None:
            row = rows[name]
            schema, high_impact = toolbox.schema_of(row, tool), row.high_impact or tool.high_impact
            offers[name] = Offer(tool, row.description or tool.description, schema, high_impact)
        else:
            logger.warning("tool not offered", tool=name, agent=agent.name)
    return offers


def code_of(row: Row) -> Tool | None:
    """The tool its module declares under the row's name, if it can work here."""
    try:
        module = toolbox.code_of(row)
    except ModuleRefusedError:
        return None  # refused and on record
    except Exception as error:  # a module that cannot be imported costs its own tools and nobody else's
        logger.warning("tool.import_failed", tool=row.name, module=row.module_path, reason=f"{error!r}"[:300])
        return None
    tool = TOOLS.get(row.name)
    return tool if tool and tool.module_path == module.__name__ and tool.available() else None


def perform(call: Call, asked: Asked, offer: Offer | None, *, first: int = 0, refused: str = "") -> str:
    """What the model is told of its call. `first` is where this run's numbers begin: a run over changed input repeats
    no effect of the runs before it. `refused` says why the call may not even be tried."""
    timeout = offer.tool.timeout if offer else 10.0
    text = bounded(lambda: _perform(call, asked, offer, first, refused), timeout)
    if text is not None:
        return text
    try:
        return _keep(call, asked, CallStatus.FAILED, f"It took longer than {timeout:.0f} s.", since=-timeout)
    finally:
        _close()


def shown(row: ToolCall) -> str:
    """A recorded call as a model is told of it."""
    return SHOWN.get(CallStatus(row.status)) or row.result


# --- one call, in a thread of its own ---


def _perform(call: Call, asked: Asked, offer: Offer | None, first: int, refused: str) -> str:
    if (known := _recorded(call, asked, first)) is not None:
        return shown(known)
    if offer is None:
        refused = refused or f"There is no tool {asked.name[:64]!r} for you."
    if refused or offer is None:
        return _refuse(call, asked, refused)
    if problem := _problem(asked.arguments, offer.schema):
        return _keep(call, asked, CallStatus.FAILED, problem)
    if offer.high_impact:
        return _keep(call, asked, CallStatus.WAITING, "", refusal="needs approval")
    return _tried(call, asked, offer, first)


def _tried(call: Call, asked: Asked, offer: Offer, first: int) -> str:
    """What goes wrong in a tool is told to the model; what goes wrong with the database ends the turn."""
    begun = time.monotonic()
    try:
        return _outside(call, asked, offer) if offer.tool.outside else _inside(call, asked, offer)
    except IntegrityError:
        known = _recorded(call, asked, first)  # it happened, or was given up, while we were at it: ours is rolled back
        return shown(known) if known else _keep(call, asked, CallStatus.FAILED, "It breaks a rule of the database.")
    except (OperationalError, InterfaceError):
        if connection.connection is None or connection.connection.closed:
            raise  # the database is away: nothing happened, the turn is run again
        return _keep(call, asked, CallStatus.FAILED, "It took longer than it may.", since=begun)
    except (rights.NoIsolationError, ProgrammingError) as error:
        if isinstance(error, ProgrammingError) and not isinstance(error.__cause__, InsufficientPrivilege):
            return _failed(call, asked, error, begun)
        return _refuse(call, asked, "The person you act for may not do this.")
    except Exception as error:
        return _failed(call, asked, error, begun)


def _inside(call: Call, asked: Asked, offer: Offer) -> str:
    """Effect and record in one transaction."""
    begun = time.monotonic()
    with transaction.atomic():
        text = run(call, asked.arguments, offer.tool)
        return _write(call, asked, CallStatus.DONE, text, begun).result


def _outside(call: Call, asked: Asked, offer: Offer) -> str:
    """The record first: where we die before its end, nobody can know, and nobody tries again."""
    rights.check()
    begun = time.monotonic()
    row = _write(call, asked, CallStatus.STARTED, "", begun)
    crash_point("after_tool_start")
    status, text = outside(call, asked.arguments, offer.tool)
    crash_point("after_tool_effect")
    spent = round(1000 * (time.monotonic() - begun))
    ToolCall.objects.filter(pk=row.pk, status=CallStatus.STARTED).update(
        status=status, result=text, milliseconds=spent, updated_at=clock()
    )
    return SHOWN.get(status) or text


def outside(call: Call, arguments: Mapping[str, Any], tool: Tool) -> tuple[CallStatus, str]:
    """Run a tool that acts on another server, as the end user, with no transaction open; its end as a status."""
    try:
        with rights.without_transaction(call.user_id, seconds=tool.timeout):
            return CallStatus.DONE, as_text(invoke(tool, call, arguments))
    except Exception as error:
        logger.warning("tool.outside_failed", tool=tool.name, reason=type(error).__name__, exc_info=error)
        status = CallStatus.UNKNOWN if is_lost(error) else CallStatus.FAILED
        return status, f"It failed: {error if isinstance(error, NotDone) else type(error).__name__}."


def is_lost(error: Exception) -> bool:
    """Whether the other server may have acted: everything but what surely was not sent, and what the tool knows."""
    told: list[object] = [error, error.__cause__, getattr(error, "reason", None), *error.args]
    told += [getattr(each, "reason", None) for each in error.args]  # requests hands on what urllib3 hands on
    return not any(NOT_SENT & {kind.__name__ for kind in type(each).__mro__} for each in told)


def run(call: Call, arguments: Mapping[str, Any], tool: Tool) -> str:
    """The tool itself, as the end user, within the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(1000 * tool.timeout))])
    with rights.of_user(call.user_id), origin.written_by(_writer(call)):
        result = invoke(tool, call, arguments)
    return as_text(result)


def invoke(tool: Tool, call: Call, arguments: Mapping[str, Any]) -> Any:
    """Call the function; one declared with `async def` runs in a loop of its own, its database work in this thread."""
    if iscoroutinefunction(tool.function):
        return async_to_sync(tool.function)(call, **arguments)
    return tool.function(call, **arguments)


def _writer(call: Call) -> Origin:
    """What a tool writes has the turn, the message and the agent's version beside it, whatever the tool tells."""
    return Origin(
        "agent",
        call.agent or "agent",
        user_id=call.user_id,
        agent_version=call.agent_version,
        conversation_id=call.conversation_id,
        turn_id=call.turn_id,
        message_id=call.message_id,
    )


def as_text(result: Any) -> str:
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
    text = storable(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… (cut)"


def _failed(call: Call, asked: Asked, error: Exception, begun: float) -> str:
    logger.warning("tool failed", tool=asked.name, reason=type(error).__name__, exc_info=error)
    return _keep(call, asked, CallStatus.FAILED, f"It failed: {type(error).__name__}.", since=begun)


def _refuse(call: Call, asked: Asked, reason: str) -> str:
    return _keep(call, asked, CallStatus.REFUSED, f"Refused: {reason}", refusal=reason)


def _problem(arguments: dict[str, Any], schema: dict[str, Any]) -> str:
    """What is wrong with the arguments, for the model to correct; the schema itself was checked when it was saved."""
    if NOT_JSON in arguments:
        return "The arguments are not JSON. Send one JSON object."
    said = schemas.problems(schema, arguments)[:5]
    return f"The arguments do not fit: {'; '.join(said)}" if said else ""


# --- the record ---


def _recorded(call: Call, asked: Asked, first: int) -> ToolCall | None:
    calls = ToolCall.objects.filter(turn_id=call.turn_id)
    known = calls.filter(number=call.number).first()
    if known is None and first > 0:
        done = [
            CallStatus.DONE,
            CallStatus.STARTED,
            CallStatus.UNKNOWN,
            CallStatus.WAITING,
            CallStatus.APPROVED,
        ]
        known = calls.filter(
            number__lte=first, tool=_name(asked), arguments=storable(asked.arguments), status__in=done
        ).first()
    return known


def _keep(  # noqa: PLR0913  keyword-only beyond the call
    call: Call, asked: Asked, status: CallStatus, text: str, *, since: float | None = None, refusal: str = ""
) -> str:
    """Record a call that had no effect; whoever recorded it before us is believed."""
    try:
        with transaction.atomic():
            row = _write(call, asked, status, text, since)
            if refusal:
                record_refusal(call, _name(asked), refusal)
    except IntegrityError:
        row = ToolCall.objects.get(turn_id=call.turn_id, number=call.number)
    return shown(row)


def _write(call: Call, asked: Asked, status: CallStatus, text: str, since: float | None) -> ToolCall:
    spent = None if since is None else -since if since < 0 else time.monotonic() - since
    return ToolCall.objects.create(
        turn_id=call.turn_id,
        number=call.number,
        conversation_id=call.conversation_id,
        user_id=call.user_id,
        agent=call.agent,
        agent_version=call.agent_version,
        message_id=call.message_id,
        tool=_name(asked),
        arguments=storable(asked.arguments),
        status=status,
        result=text,
        milliseconds=None if spent is None else round(1000 * spent),
    )


def _name(asked: Asked) -> str:
    return str(storable(asked.name))[:100]


# --- time ---


def bounded(action: Callable[[], Result], seconds: float) -> Result | None:
    """Run it in a thread, and wait no longer than that. A thread that comes too late finds its call recorded, and
    takes back what it did."""
    result: list[Result] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            result.append(action())
        except BaseException as error:  # handed to the one who waits, if somebody still does
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=copy_context().run, args=(work,), name="tool", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    return result[0] if result else None


def _close() -> None:
    """A thread of the graph's leaves no connection behind."""
    if threading.current_thread() is not threading.main_thread():
        connection.close()
