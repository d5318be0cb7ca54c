"""Alive, ready and measured: what probes and operators are told, with the database there and away."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.db.utils import ProgrammingError
from django.test import Client
from django.utils.translation import override
from prometheus_client.parser import text_string_to_metric_families

from config import doctor, health, metrics, probes


@pytest.fixture
def database_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A connection to where nobody listens."""
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nonexistent")
    yield
    connection.close()


@pytest.mark.django_db
def test_ready_when_everything_is(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READINESS", [health.database, health.extension, health.migrations])
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["checks"]["extension"].startswith("pgvector")
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.django_db(transaction=True)
def test_not_ready_without_the_database_yet_alive(
    client: Client, database_away: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_migrated_at", None)
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert set(response.json()["checks"].values()) == {"failed"}
    assert "nonexistent" not in response.content.decode(), "a stranger learns no address"


def test_a_database_that_is_away_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def database() -> health.Result:
        asked.append("database")
        return health.Result("database", False, "no answer")

    def behind() -> health.Result:
        asked.append("behind")
        return health.Result("behind", True, "fine")

    monkeypatch.setattr(health, "database", database)
    assert [result.ok for result in health.run([database, behind, behind])] == [False, False, False]
    assert asked == ["database"]


@pytest.mark.django_db
def test_a_missing_migration_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated_at", None)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'config'")
    result = health.migrations()
    assert not result.ok
    assert "config.0001_extensions" in result.detail


@pytest.mark.django_db
def test_metrics_are_what_prometheus_reads(client: Client) -> None:
    response = client.get("/metrics")
    families = {family.name: family for family in text_string_to_metric_families(response.content.decode())}
    assert families["parley_up"].samples[0].value == 1
    assert families["parley_database_bytes"].samples[0].value > 1_000_000


@pytest.mark.django_db
def test_one_broken_number_hides_no_other(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = metrics.Number("parley_broken", "Asks for a table that is not there.", "SELECT count(*) FROM nowhere")
    monkeypatch.setattr(metrics, "NUMBERS", [broken, *metrics.NUMBERS])
    families = {f.name: f for f in text_string_to_metric_families(client.get("/metrics").content.decode())}
    assert "parley_broken" not in families
    assert "parley_database_bytes" in families
    assert families["parley_up"].samples[0].value == 0


@pytest.mark.django_db
def test_many_probes_cost_the_database_one_round(
    client: Client, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(settings, "PROBE_SECONDS", 60.0)
    monkeypatch.setattr(health, "_readiness", probes.Held(health._ask))
    monkeypatch.setattr(metrics, "_exposition", probes.Held(lambda: metrics.generate_latest(metrics.REGISTRY)))
    first = {path: client.get(path).content for path in ("/readyz", "/metrics")}
    with django_assert_num_queries(0):
        assert {path: client.get(path).content for path in ("/readyz", "/metrics")} == first


@pytest.mark.django_db
def test_metrics_are_for_who_has_the_token(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "METRICS_TOKEN", "a-token-of-ours")
    for offered in ("", "Bearer ", "Bearer another", "Basic a-token-of-ours", "Bearer \u00e9"):
        response = client.get("/metrics", headers={"Authorization": offered})
        assert response.status_code == 401
        assert b"parley_" not in response.content
    assert client.get("/metrics", headers={"Authorization": "Bearer a-token-of-ours"}).status_code == 200
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_quantiles_belong_to_summaries(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = metrics.Number("parley_waits", "Waits.", "SELECT 1.5, q FROM unnest(ARRAY[0.5]) AS q", labels=["quantile"])
    monkeypatch.setattr(metrics, "NUMBERS", [waits])
    text = client.get("/metrics").content.decode()
    assert '# TYPE parley_waits summary\nparley_waits{quantile="0.5"} 1.5\n' in text


@pytest.mark.django_db(transaction=True)
def test_a_page_without_a_database_says_so_and_when_to_come_back(client: Client, database_away: None) -> None:
    client.raise_request_exception = False
    client.cookies["sessionid"] = "somebody"
    response = client.get("/admin/")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert "text/html" in response.headers["Content-Type"]


@pytest.mark.parametrize("error", [OperationalError("gone"), ProgrammingError("a bug")])
def test_only_an_outage_is_an_outage(client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    client.raise_request_exception = False
    monkeypatch.setattr(health, "run", fail)
    response = client.get("/readyz")
    assert response.status_code == (503 if isinstance(error, OperationalError) else 500)
    if response.status_code == 503:
        assert response.json()["error"] == "database_unavailable"


@pytest.mark.django_db
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "127.0.0.1:8000", "evil.example", "not a host"])
def test_probes_are_answered_whatever_the_host_header_says(
    client: Client, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A kubelet asks by the address of the pod, the check of a container by 127.0.0.1."""
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["parley.example.org"])
    monkeypatch.setattr(settings, "SECURE_SSL_REDIRECT", True)
    monkeypatch.setattr(health, "READINESS", [health.database])
    asked = {path: client.get(path, headers={"host": host}).status_code for path in ("/healthz", "/readyz")}
    assert asked == {"/healthz": 200, "/readyz": 200}
    assert client.get("/admin/login/", headers={"host": host}, secure=True).status_code == 400
    assert client.get("/healthz/more", headers={"host": host}, secure=True).status_code == 400


@pytest.mark.parametrize("method", ["post", "put", "delete"])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_only_read(client: Client, method: str, path: str) -> None:
    assert getattr(client, method)(path).status_code == 405


@pytest.mark.parametrize(
    ("offered", "kept"),
    [
        ("trace-12345678", True),
        ("short", False),
        ("evil\r\nX-Injected: 1", False),
        ("x" * 65, False),
        ("é" * 10, False),
    ],
)
def test_a_sane_request_id_is_kept_and_any_other_replaced(client: Client, offered: str, kept: bool) -> None:
    answered = client.get("/healthz", headers={"X-Request-ID": offered}).headers["X-Request-ID"]
    assert (answered == offered) is kept
    assert "\n" not in answered
    assert len(answered) >= 8


@pytest.mark.django_db
def test_the_doctor_is_content_with_a_good_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READINESS", [health.extension, health.migrations])
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["localhost"])
    assert [result for result in doctor.examine() if not result.ok] == []


@pytest.mark.django_db
def test_what_passes_is_told_in_the_readers_language_and_machines_hear_english(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "READINESS", [health.database, health.migrations])
    monkeypatch.setattr(health, "_migrated_at", None)
    guard = next(check for check in health.NOTICES if check.__name__ == "guard")
    with override("ru"):
        told = {result.name: result.detail for result in health.run([*health.READINESS, guard])}
    assert told["migrations"] == "всё применено"
    assert re.fullmatch(r"PostgreSQL [\d.]+, \d+ мс", told["database"])
    assert told["guard"] == "таблицы, столбцы и правила нельзя удалить, переименовать или сузить"
    checks = client.get("/readyz", headers={"accept-language": "ru"}).json()["checks"]
    assert checks["migrations"] == "all applied"
