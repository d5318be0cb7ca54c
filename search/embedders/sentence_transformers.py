"""Any model of the library sentence-transformers, where somebody has installed it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from search.embedders import SENTENCE_TRANSFORMERS, EmbedderError, check
from search.embedders.configured import Configured

LIBRARY = "sentence_transformers"
DEFAULT = "paraphrase-multilingual-MiniLM-L12-v2"
DIMENSIONS = {DEFAULT: 384, "all-MiniLM-L6-v2": 384, "all-mpnet-base-v2": 768, "intfloat/multilingual-e5-small": 384}
TRY_AGAIN = 300.0  # seconds: neither a library nor a model appears by itself soon


class SentenceTransformersEmbedder(Configured):
    """Loads at the first text, once per process."""

    name = "sentence-transformers"
    default, known = DEFAULT, DIMENSIONS

    def __init__(self, model: str, dimensions: int) -> None:
        self.model, self.dimensions = f"{SENTENCE_TRANSFORMERS}{model}", dimensions
        self.batch = settings.EMBEDDINGS_BATCH
        self.last_error = ""
        self._named, self._loaded, self._loading = model, None, threading.Lock()

    def trouble(self) -> str:
        """Why it cannot work, without loading it; empty if it may."""
        if find_spec(LIBRARY) is None:
            return _("The library is not installed: pip install sentence-transformers")
        if not self.dimensions:
            return _("How many dimensions has %s? Set EMBEDDINGS_DIMENSIONS") % self._named
        return ""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if not texts:
            return []
        if trouble := self.trouble():
            raise EmbedderError(trouble, retry_after=TRY_AGAIN)
        try:
            # Some models want to know which of the two they read; the others embed both alike.
            encode = self._model().encode_query if query else self._model().encode_document
            sendable = [text.encode(errors="replace").decode() for text in texts]
            vectors: list[list[float]] = encode(sendable, batch_size=self.batch, show_progress_bar=False).tolist()
        except Exception as error:
            self.last_error = f"{type(error).__name__}: {str(error)[:300]}"
            raise EmbedderError(f"The model does not work: {self.last_error}", retry_after=TRY_AGAIN) from error
        check(vectors, len(texts), self.dimensions)
        self.last_error = ""
        return vectors

    def _model(self) -> Any:
        with self._loading:
            if self._loaded is None:
                self._loaded = import_module(LIBRARY).SentenceTransformer(self._named)
            return self._loaded
