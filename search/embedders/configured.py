"""Embedders whose model the settings name: how they come to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from django.conf import settings


class Configured:
    """`default` is the model where the settings name none, `known` the dimensions of models we know."""

    default: ClassVar[str]
    known: ClassVar[Mapping[str, int]]

    def __init__(self, model: str, dimensions: int) -> None:
        raise NotImplementedError

    @classmethod
    def from_settings(cls) -> Self:
        model = settings.EMBEDDINGS_MODEL or cls.default
        return cls(model, settings.EMBEDDINGS_DIMENSIONS or cls.known.get(model, 0))

    @classmethod
    def of(cls, model: str, dimensions: int) -> Self:
        return cls(model, dimensions)
