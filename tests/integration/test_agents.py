"""Agents and versions: found in files, saved, published, rolled back, pinned, compared."""

from __future__ import annotations

import pytest

from agents import registry

pytestmark = pytest.mark.django_db


def test_a_second_sync_changes_nothing() -> None:
    first = registry.sync(by="test")
    assert {(one.config_path, one.outcome) for one in first} == {
        ("assistant.toml", "created"),
        ("pereezd.toml", "created"),
        ("relocation.toml", "created"),
    }
    assert {one.outcome for one in registry.sync(by="test")} == {"unchanged"}
