"""An embedder for tests and benches: a hashed bag of words, the same everywhere, thousands of texts a second."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class BagOfWords:
    """Texts that share words are near each other; `trouble` is raised instead of an answer."""

    name: str = "bag"
    model: str = "bag-of-words"
    dimensions: int = 64
    batch: int = 32
    alphabets: tuple[str, ...] | None = None
    asked: list[str] = field(default_factory=list)
    trouble: Exception | None = None

    @classmethod
    def from_settings(cls) -> BagOfWords:
        """For processes of a test: EMBEDDINGS_PROVIDER=tests.embedding.BagOfWords."""
        return cls()

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:  # noqa: ARG002  as the contract has it
        if self.trouble is not None:
            raise self.trouble
        self.asked += texts
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        values = [0.0] * self.dimensions
        for word in re.findall(r"\w+", text.lower()) or [text]:
            digest = hashlib.blake2b(word.encode(), digest_size=8, key=self.model.encode()[:64]).digest()
            values[int.from_bytes(digest[:4], "big") % self.dimensions] += 1.0 if digest[4] % 2 else -1.0
        values[0] += 0.01  # words that cancel each other out must not leave a zero vector
        length = math.sqrt(sum(value * value for value in values)) or 1.0
        return [value / length for value in values]
