"""An interviewer that needs no network: it acknowledges, asks its next question, and thanks at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from agents.outcomes import Replied, Usage

MODEL = "scripted"
CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
QUESTIONS = {
    "en": (
        "What are you working on these days?",
        "What is the hardest part of it?",
        "What would you change first if you could?",
    ),
    "ru": (
        "Над чем вы сейчас работаете?",
        "Что в этом самое трудное?",
        "Что бы вы изменили в первую очередь?",
    ),
}
PHRASES = {
    "en": {
        "one": "Thank you.",
        "many": "Thank you, I have read all {count} messages.",
        "late": "Thank you, I have added that to your earlier answer.",
        "end": "That was my last question. Thank you for your time!",
        "sorry": "I am sorry, something went wrong on my side. Your message is kept; please write again in a moment.",
    },
    "ru": {
        "one": "Спасибо.",
        "many": "Спасибо, прочёл все сообщения ({count}).",
        "late": "Спасибо, добавил это к вашему прежнему ответу.",
        "end": "Это был мой последний вопрос. Спасибо за ваше время!",
        "sorry": "Простите, у меня что-то сломалось. Ваше сообщение сохранено; пожалуйста, напишите чуть позже.",
    },
}


def answer(burst: Sequence[str], history: Sequence[Any], *, step: int, late: bool) -> Replied:
    """Step 0 greets and asks the first question; each answer moves one step on."""
    language = _language(burst)
    phrases, questions = PHRASES[language], QUESTIONS[language]
    thanks = phrases["one"] if len(burst) == 1 else phrases["many"].format(count=len(burst))
    if late:
        text, next_step = phrases["late"], None
    else:
        text = f"{thanks} {questions[step] if step < len(questions) else phrases['end']}"
        next_step = min(step + 1, len(questions))
    prompt = [*({"role": said.role, "content": said.content} for said in history), *_as_user(burst)]
    usage = Usage(sum(len(message["content"].split()) for message in prompt), len(text.split()))
    return Replied(text, next_step, usage, {"model": MODEL, "prompt": prompt})


def apology(burst: Sequence[str]) -> str:
    return PHRASES[_language(burst)]["sorry"]


def _language(burst: Sequence[str]) -> str:
    return "ru" if any(CYRILLIC.search(text) for text in burst) else "en"


def _as_user(burst: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in burst]
