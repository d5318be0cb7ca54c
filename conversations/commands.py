"""What people may say to the bot instead of to the agent, and what it answers. Channels say it for them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection, transaction

from agents import registry
from agents.config import AgentConfig, AgentKind
from agents.registry import RegistryError
from conversations import buffering, log, outbox, sessions
from conversations.models import Conversation, Mode, Turn

COMMANDS = ("start", "reset", "help")
PHRASES = {
    "en": {
        "hello": "Hello! Write as many messages as you like: I answer when you have finished.",
        "reset": "We begin anew. What was said before is marked deleted.",
        "over": "Our interview is complete. /reset begins a new one.",
        "help": "Write as many messages as you like: I answer when you have been quiet for a moment.\n"
        "/start begins, or repeats where we are\n/reset starts over; what was said is marked deleted\n/help shows this",
        "unknown": "I do not know that command. /help lists those I know.",
    },
    "ru": {
        "hello": "Здравствуйте! Пишите сколько угодно сообщений: я отвечу, когда вы закончите.",
        "reset": "Начинаем заново. Всё сказанное помечено удалённым.",
        "over": "Наше интервью завершено. /reset начнёт новое.",
        "help": "Пишите сколько угодно сообщений: я отвечу, когда вы ненадолго замолчите.\n"
        "/start начинает разговор или повторяет, где мы остановились\n"
        "/reset начинает заново; сказанное помечается удалённым\n/help показывает это",
        "unknown": "Такой команды я не знаю. /help покажет те, что знаю.",
    },
}


def carry_out(conversation_id: UUID, command: str, *, by: str) -> UUID:
    """Do it and answer, in one transaction; where the conversation goes on."""
    with transaction.atomic():
        buffering.lock(conversation_id)
        conversation = sessions.get(conversation_id)
        config, version = _speaking(conversation)
        if command == "reset":
            return _start_over(conversation, config, by=by)
        if conversation.mode != Mode.AUTO:
            return conversation_id  # staff have seen it, and nobody speaks beside them
        if command == "start":
            _start(conversation, config, version)
        else:
            _say(conversation_id, phrase("help" if command == "help" else "unknown", config), command)
    return conversation_id


def phrase(name: str, config: AgentConfig | None) -> str:
    return PHRASES.get(config.language if config else "en", PHRASES["en"])[name]


def _start(conversation: Conversation, config: AgentConfig | None, version: int | None) -> None:
    """Greet; an interview begins with its first question, and one that has begun repeats where it is."""
    greeting = (config.greeting if config else "") or phrase("hello", config)
    if config is None or config.kind != AgentKind.INTERVIEW:
        _say(conversation.pk, greeting, "start")
        return
    step, questions = conversation.interview_step, config.questions
    if step > len(questions):
        _say(conversation.pk, phrase("over", config), "start")
    elif step:
        _say(conversation.pk, questions[step - 1], "start")
    elif not buffering.has_buffer(conversation.pk) and not _owes(conversation.pk):  # else the answer to it begins
        _say(conversation.pk, f"{greeting} {questions[0]}", "start")
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE conversations SET interview_step = 1,"
                " agent_version = CASE WHEN agent_id IS NULL THEN NULL ELSE coalesce(agent_version, %s) END"
                " WHERE id = %s AND interview_step = 0",
                [version, conversation.pk],
            )


def _start_over(conversation: Conversation, config: AgentConfig | None, *, by: str) -> UUID:
    log.clear(conversation.pk, by=by)
    sessions.close(conversation.pk, by=by)
    fresh, _ = sessions.open(
        conversation.user_id,
        chat_id=conversation.chat_id,
        channel=conversation.channel,
        agent_id=conversation.agent_id,
        title=conversation.title,
        metadata=conversation.metadata,
    )
    _say(fresh.pk, phrase("reset", config), "reset")
    return fresh.pk


def _say(conversation_id: UUID, text: str, command: str) -> None:
    outbox.enqueue(log.append(conversation_id, "assistant", text, metadata={"command": command}))


def _owes(conversation_id: UUID) -> bool:
    return bool(Turn.objects.unfinished().filter(conversation_id=conversation_id).exists())


def _speaking(conversation: Conversation) -> tuple[Any, int | None]:
    try:
        config, version, _agent = registry.version_for(conversation.agent_id, conversation.agent_version)
    except RegistryError:
        return None, None  # nothing is published: the bot still knows its own words
    return config, version
