"""Agents, tools and the record in the admin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import audit, registry
from agents.models import Agent, AuditEntry, Tool

AGENTS, TOOLS, RECORD = "/admin/agents/agent/", "/admin/agents/tool/", "/admin/agents/auditentry/"
CHAT = 'kind = "chat"\nsystem_prompt = "{}"\n'
pytestmark = pytest.mark.django_db


@pytest.fixture
def one(tmp_path: Path, settings: object) -> Agent:
    settings.AGENTS_DIR = tmp_path  # type: ignore[attr-defined]
    settings.AGENT_TOOL_PACKAGES = ["tests.some_tools"]  # type: ignore[attr-defined]
    (tmp_path / "one.toml").write_text(CHAT.format("first"))
    registry.sync(by="test")
    return Agent.objects.get()


def reader(*permissions: str) -> Client:
    user = User.objects.create(username="ivan", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_staff_save_compare_publish_and_roll_back(staff: Client, one: Agent) -> None:
    here = f"{AGENTS}{one.pk}/"
    assert "one" in staff.get(AGENTS).content.decode()
    saved = staff.post(f"{here}save/", {"config": CHAT.format("second\\r\\nline")}, follow=True).content.decode()
    assert "Version 2 is saved" in saved
    assert 'class="changed"' in saved
    assert Agent.objects.get().active_version == 1
    staff.post(f"{here}publish/", {"version": "2"})
    assert Agent.objects.get().active_version == 2
    page = staff.get(f"{here}change/?old=1&new=2").content.decode()
    assert "Version 1 and version 2" in page
    staff.post(f"{here}rollback/")
    assert Agent.objects.get().active_version == 1
    staff.post(f"{here}switch/", {"on": "no"})
    assert not Agent.objects.get().is_active
    deeds = AuditEntry.objects.filter(actor="anna").exclude(action="staff.login").order_by("id")
    assert list(deeds.values_list("action", flat=True)) == [
        "agent.save_version", "agent.publish", "agent.rollback", "agent.switch",
    ]  # fmt: skip


def test_the_editor_opens_with_the_newest_version_though_another_speaks(staff: Client, one: Agent) -> None:
    staff.post(f"{AGENTS}{one.pk}/save/", {"config": CHAT.format("a draft to go on with")})
    shown = staff.get(f"{AGENTS}{one.pk}/change/").context["draft"]
    assert "a draft to go on with" in shown


def test_what_the_form_shows_can_be_saved(staff: Client, one: Agent) -> None:
    shown = json.dumps(registry.version(one, 1).config, indent=2)
    staff.post(f"{AGENTS}{one.pk}/save/", {"config": shown.replace("first", "third")})
    assert registry.version(one, 2).config["system_prompt"] == "third"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('kind = "poll"', "kind: is &#x27;poll&#x27;; allowed: interview, chat."),
        ('{"kind": "chat", ', "This is not JSON"),
        ('kind = "chat"\ntools = ["nope"]', "there is no tool nope"),
        ("", "kind: is missing"),
        ('kind = "chat"\n"<script>alert(1)</script>" = 1', "&lt;script&gt;alert(1)&lt;/script&gt;: there is no such"),
    ],
)
def test_a_refused_version_keeps_the_draft_and_tells_why(staff: Client, one: Agent, config: str, told: str) -> None:
    response = staff.post(f"{AGENTS}{one.pk}/save/", {"config": config})
    assert response.status_code == 400
    assert told in response.content.decode()
    assert "<script>alert" not in response.content.decode()
    assert Agent.objects.get().version == 1


@pytest.mark.parametrize("number", ["", "x", "99", "9" * 40, "²", "-1"])
def test_a_version_that_is_not_there_is_not_published(staff: Client, one: Agent, number: str) -> None:
    assert staff.post(f"{AGENTS}{one.pk}/publish/", {"version": number}).status_code in {302, 404}
    assert Agent.objects.get().active_version == 1
    assert staff.get(f"{AGENTS}{one.pk}/change/", {"old": number, "new": number}).status_code == 200


def test_whoever_may_only_look_cannot_change(one: Agent) -> None:
    client = reader("view_agent")
    page = client.get(f"{AGENTS}{one.pk}/change/").content.decode()
    assert "Save as a new version" not in page
    for verb in ("save", "publish", "rollback", "switch"):
        assert client.post(f"{AGENTS}{one.pk}/{verb}/").status_code == 403
        assert client.get(f"{AGENTS}{one.pk}/{verb}/").status_code in {403, 405}
    assert client.get(RECORD).status_code == 403
    assert client.get(f"{RECORD}export/csv/").status_code == 403
    assert client.get(f"{AGENTS}not-an-id/change/").status_code == 404


def test_tools_are_registered_and_refused_with_the_registrys_words(staff: Client, one: Agent) -> None:
    form = {"name": "quiet", "description": "", "schema": '{"type": "object"}', "agent": "", "is_active": "on"}
    refused = staff.post(f"{TOOLS}add/", {**form, "module_path": "os.system"}).content.decode()
    assert "is refused; allowed: tests.some_tools.harmless" in refused
    assert AuditEntry.objects.filter(action="tool.refuse", actor="anna", status="refused").count() == 1
    bad = staff.post(f"{TOOLS}add/", {**form, "module_path": "tests.some_tools.harmless", "schema": '{"type": 5}'})
    assert "must be &quot;object&quot;" in bad.content.decode()
    staff.post(f"{TOOLS}add/", {**form, "module_path": "tests.some_tools.harmless"})
    tool = Tool.objects.get()
    changed = {**form, "module_path": "tests.some_tools.harmless", "high_impact": "on"}
    changed.pop("is_active")
    staff.post(f"{TOOLS}{tool.pk}/change/", changed)
    tool.refresh_from_db()
    assert (tool.high_impact, tool.is_active) == (True, False)
    assert staff.get(f"{TOOLS}{tool.pk}/delete/").status_code == 403
    actions = AuditEntry.objects.filter(subject_type="tool", status="success").order_by("id")
    assert list(actions.values_list("action", flat=True)) == ["tool.create", "tool.change", "tool.switch"]


def test_the_record_is_filtered_searched_and_exported(staff: Client) -> None:
    for number in range(3):
        audit.record("test.deed", f"user:{number}", ("thing", number), {"text": "<b>x</b>"})
    audit.record("test.other", "=1+1", ("thing", "x"), status="refused")
    page = staff.get(RECORD, {"action": "test.deed"}).content.decode()
    assert "user:1" in page
    assert "&lt;b&gt;x" in page
    assert "thing 1" in page
    assert "thing x" not in page
    assert "user:2" in staff.get(RECORD, {"q": "user:2"}).content.decode()
    assert "test.other" in staff.get(RECORD, {"status__exact": "refused"}).content.decode()
    lines = b"".join(staff.get(f"{RECORD}export/csv/", {"action": "test.other"}).streaming_content).decode()  # type: ignore[attr-defined]
    (export,) = AuditEntry.objects.filter(action="audit.export")
    assert (export.actor, export.details) == ("anna", {"format": "csv", "filters": ["action"]})
    assert len(lines.splitlines()) == 2
    assert "'=1+1" in lines
    entry = AuditEntry.objects.filter(action="test.deed").latest("id")
    detail = staff.get(f"{RECORD}{entry.pk}/change/").content.decode()
    assert "&lt;b&gt;x" in detail
    assert staff.post(f"{RECORD}{entry.pk}/change/", {"actor": "x"}).status_code == 403
    assert staff.post(f"{RECORD}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get(f"{RECORD}add/").status_code == 403


def test_a_deed_that_was_once_called_otherwise_is_found_by_its_name_of_now(staff: Client) -> None:
    audit.record("tool.refused", "then", ("turn", 1))
    audit.record("tool.refuse", "now", ("turn", 2))
    for name in ("tool.refuse", "tool.refused"):
        page = staff.get(RECORD, {"action": name}).content.decode()
        assert "turn 1" in page
        assert "turn 2" in page
        assert '<option value="tool.refused"' not in page


def test_the_record_is_never_counted_whole(staff: Client) -> None:
    for number in range(60):
        audit.record("test.deed", "user", ("thing", number))
    with CaptureQueriesContext(connection) as queries:
        staff.get(RECORD)
    asked = [query["sql"] for query in queries if "audit_log" in query["sql"]]
    assert asked
    assert [sql for sql in asked if "LIMIT" not in sql] == []
