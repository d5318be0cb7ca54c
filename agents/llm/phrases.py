"""What the built-in agent says, in the languages it knows; also the words of last resort of every other agent."""

from __future__ import annotations

import re
from collections.abc import Sequence

CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
PHRASES = {
    "en": {
        "hello": "Hello!",
        "one": "Thank you.",
        "many": "Thank you, I have read all {count} messages.",
        "again": "I would like to hear a little more about that.",
        "late": "Thank you, I have added that to your earlier answer.",
        "summary": "That was my last question. This is what I have understood:",
        "end": "Thank you for your time!",
        "over": "Our interview is complete, and I have added this to it. Thank you!",
        "found": "This is what you told me about it:",
        "nothing": "I found nothing about that in what you told me so far. I have kept it for next time.",
        "plain": "I have read that and kept it.",
        "offline": "Without a language model I can only recall what you wrote.",
        "sorry": "I am sorry, something went wrong on my side. Your message is kept; please write again in a moment.",
        "away": "I have kept that. For a moment I cannot look up what we said before; I will come back to it.",
        "budget": "I am sorry, this took more steps than I may take. Please ask for less at once.",
        "cut": "(My answer became too long and ends here. Ask me to go on.)",
        "approved": "Our staff approved what you asked for, and it is done.",
        "approved_failed": "Our staff approved what you asked for, but it failed. They know about it.",
        "approved_unknown": "Our staff approved it. Whether it was done is not known yet; they are looking into it.",
        "denied": "Our staff did not approve what you asked for. It was not done.",
    },
    "ru": {
        "hello": "Здравствуйте!",
        "one": "Спасибо.",
        "many": "Спасибо, прочёл все сообщения ({count}).",
        "again": "Расскажите об этом чуть подробнее, пожалуйста.",
        "late": "Спасибо, добавил это к вашему прежнему ответу.",
        "summary": "Это был мой последний вопрос. Вот что я понял:",
        "end": "Спасибо за ваше время!",
        "over": "Наше интервью завершено, я добавил это к нему. Спасибо!",
        "found": "Вот что вы об этом говорили:",
        "nothing": "В том, что вы уже рассказали, я об этом ничего не нашёл. Я запомнил на будущее.",
        "plain": "Прочёл и запомнил.",
        "offline": "Без языковой модели я могу только вспомнить, что вы писали.",
        "sorry": "Простите, у меня что-то сломалось. Ваше сообщение сохранено; пожалуйста, напишите чуть позже.",
        "away": "Получил и сохранил. Сейчас я не могу заглянуть в нашу прежнюю беседу; чуть позже вернусь к этому.",
        "budget": "Простите, это заняло больше шагов, чем мне позволено. Пожалуйста, спросите о меньшем.",
        "cut": "(Ответ получился слишком длинным и обрывается здесь. Попросите меня продолжить.)",
        "approved": "Сотрудники одобрили вашу просьбу, всё сделано.",
        "approved_failed": "Сотрудники одобрили вашу просьбу, но выполнить её не удалось. Они об этом знают.",
        "approved_unknown": "Сотрудники одобрили вашу просьбу. Пока неизвестно, выполнена ли она; они это выясняют.",
        "denied": "Сотрудники не одобрили вашу просьбу. Ничего не сделано.",
    },
}


def language_of(texts: Sequence[str]) -> str:
    return "ru" if any(CYRILLIC.search(text) for text in texts) else "en"


def phrase(name: str, language: str) -> str:
    return PHRASES.get(language, PHRASES["en"])[name]
