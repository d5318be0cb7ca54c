"""Tools are registered from their code; one that cannot be called is named, and costs nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
import structlog
from django.core.management import call_command
from django.test import override_settings

from agents import allowlist, calls, checks, registry, runtime, toolbox
from agents.models import Agent, Tool
from agents.tools import TOOLS
from tests.answering import an_agent, asked, shipped

pytestmark = pytest.mark.django_db(transaction=True)

PACKAGE = "tests.outside_tools"


@pytest.fixture(autouse=True)
def packages() -> Iterator[None]:
    shipped()
    sys.modules.pop(f"{PACKAGE}.refund", None)
    with patch.dict(TOOLS), override_settings(AGENT_TOOL_PACKAGES=["agents.tools", PACKAGE, "no_such.package"]):
        yield


def test_a_sync_registers_the_tools_of_all_packages_and_names_the_broken_ones() -> None:
    out, err = StringIO(), StringIO()
    call_command("agents", "sync", stdout=out, stderr=err)
    assert Tool.objects.get(name="refund").schema["required"] == ["order"]
    assert "refund" in out.getvalue()
    assert "no_such_library" in err.getvalue()
    again = StringIO()
    call_command("agents", "sync", stdout=again, stderr=StringIO())
    assert "registered" not in again.getvalue()


def test_doctor_names_each_tool_that_cannot_be_called() -> None:
    Tool.objects.create(name="ghost", module_path=f"{PACKAGE}.refund", schema={})
    result = checks.tools()
    assert not result.ok
    for part in ("there is no package no_such.package", "not_importable: ModuleNotFoundError", "ghost: "):
        assert part in result.detail
    assert [message.id for message in checks.tool_packages()] == ["parley.W003"]


def test_doctor_is_content_with_tools_that_work(settings: Any) -> None:
    settings.AGENT_TOOL_PACKAGES = ["agents.tools"]
    assert checks.tools().ok
    assert checks.tool_packages() == []


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_an_empty_schema_of_the_row_does_not_hide_the_one_of_the_code(schema: dict[str, Any]) -> None:
    Tool.objects.create(name="refund", module_path=f"{PACKAGE}.refund", schema=schema)
    offer = calls.offered(an_agent(), ("refund",))["refund"]
    assert list(offer.schema["properties"]) == ["order"]


def test_a_schema_of_the_row_that_names_arguments_holds() -> None:
    own = {"type": "object", "properties": {"order": {"type": "string", "maxLength": 3}}}
    Tool.objects.create(name="refund", module_path=f"{PACKAGE}.refund", schema=own)
    assert calls.offered(an_agent(), ("refund",))["refund"].schema == own


def test_an_agent_whose_file_nobody_synced_answers_when_it_is_named() -> None:
    assert not Agent.objects.filter(name="assistant").exists()
    assert registry.find("assistant").active_version == 1
    Agent.objects.filter(name="assistant").update(is_active=False)
    with pytest.raises(registry.AgentNotFoundError):
        registry.find("assistant")


def test_production_without_a_key_says_who_answers_by_script(settings: Any) -> None:
    agent = an_agent(model="gpt-4o")
    an_agent(model="scripted")
    settings.OPENAI_API_KEY = settings.OPENAI_BASE_URL = ""
    assert checks.model().ok  # on a developer's machine that is how it begins
    settings.PRODUCTION = True
    result = checks.model()
    assert (result.ok, result.detail.endswith(agent.name)) == (False, True)
    settings.OPENAI_API_KEY = "key"
    assert checks.model().ok


def test_a_package_above_that_is_missing_is_no_error() -> None:
    assert allowlist.missing_packages() == ["no_such.package"]
    assert toolbox.problems()


def test_an_agent_that_names_a_model_and_answers_by_script_is_logged(settings: Any) -> None:
    settings.OPENAI_API_KEY = settings.OPENAI_BASE_URL = ""
    settings.PRODUCTION = True
    with structlog.testing.capture_logs() as logs:
        runtime.run(asked(agent := an_agent(model="gpt-4o"), "hello"))
        runtime.run(asked(an_agent(model="scripted"), "hello"))
    events = [entry for entry in logs if entry["event"] == "model.scripted_instead"]
    assert [(entry["agent"], entry["model"]) for entry in events] == [(agent.name, "gpt-4o")]
