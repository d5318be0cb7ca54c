"""What staff should know about the embedders: which is chosen, which could work, and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from search.embedders import OFF, PROVIDERS, class_of, current

TITLES = {
    "local": _("Local model"),
    "openai": _("OpenAI-compatible server"),
    "sentence-transformers": _("sentence-transformers"),
}
SAYS = {
    "local": _(
        "Works offline and understands English. No model for Russian is small enough to come along:"
        " Russian is found by words, in all their forms."
    ),
    "openai": _("Understands what its model understands; texts leave this machine."),
    "sentence-transformers": _("Works on this machine with any of its models; the default understands 50 languages."),
}


@dataclass(frozen=True, slots=True)
class State:
    """One provider."""

    name: str
    title: str | Promise
    says: str | Promise
    chosen: bool
    ready: bool
    trouble: str  # why it is not ready
    model: str = ""
    dimensions: int = 0
    last_error: str = ""  # of this process


def states() -> list[State]:
    """Every provider, the chosen one first; none at all is chosen where EMBEDDINGS_PROVIDER is off."""
    names = list(PROVIDERS)
    if settings.EMBEDDINGS_PROVIDER not in (*names, OFF):
        names.append(settings.EMBEDDINGS_PROVIDER)
    return sorted((state(name) for name in names), key=lambda one: not one.chosen)


def state(name: str) -> State:
    """Of one provider: asking for it alone leaves the libraries of the others unloaded."""
    chosen = name == settings.EMBEDDINGS_PROVIDER
    title, says = TITLES.get(name, name), SAYS.get(name, "")
    try:
        embedder: Any = current() if chosen else class_of(name).from_settings()
        trouble = embedder.trouble() if hasattr(embedder, "trouble") else ""
    except Exception as error:  # a class of somebody else's: whatever it raises is why it does not work
        return State(name, title, says, chosen, False, f"{type(error).__name__}: {error}")
    last_error = getattr(embedder, "last_error", "")
    return State(name, title, says, chosen, not trouble, trouble, embedder.model, embedder.dimensions, last_error)
