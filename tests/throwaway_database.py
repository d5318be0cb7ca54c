"""Gives every test run a PostgreSQL of its own: started before Django reads its settings, gone when the run ends.

Loaded by `-p` in pyproject.toml, since a conftest.py would come too late. Workers of a parallel run share the server
and get a database each.
"""

import os
from contextlib import ExitStack

import pytest

_resources = ExitStack()
PREFIXES = ("DATABASE_", "EMBEDDINGS_", "INTERVIEW_", "OPENAI_", "STAFF_", "TELEGRAM_")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        if name.startswith("TELEGRAM_TEST_"):
            continue  # the contract suite may speak to the real one
        if name != "DATABASE_URL" or "PYTEST_XDIST_WORKER" not in os.environ:
            del os.environ[name]
    os.environ["EMBEDDINGS_PROVIDER"] = "off"  # hundreds of tests index by the way; those of search choose an embedder
    if "PYTEST_XDIST_WORKER" not in os.environ:
        from config.database import throwaway

        os.environ["DATABASE_URL"] = _resources.enter_context(throwaway()).url


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    _resources.close()
