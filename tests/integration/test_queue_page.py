"""The staff's page of the queue, and the pages of django-q2 that must not be there."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from config.models import QueuedTask, QueuePeriod, QueueWorker
from config.queue import defer, registry, run_due

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registered")]
PAGE = "/admin/config/queuedtask/"


@pytest.fixture
def dead() -> QueuedTask:
    def explode() -> None:
        raise RuntimeError("<script>alert(1)</script>")

    registry.TASKS["try.explode"] = registry.Task("try.explode", explode, 60, 1)
    defer("try.explode")
    run_due()
    return QueuedTask.objects.get(state="dead")


def test_the_pages_of_django_q_are_gone(admin_client: Client) -> None:
    for model in apps.get_app_config("django_q").get_models():
        for page in ("", "add/", "1/change/"):
            assert admin_client.get(f"/admin/django_q/{model._meta.model_name}/{page}").status_code == 404
    assert admin_client.get("/admin/django_q/").status_code == 404


def test_the_page_shows_what_waits_what_was_given_up_and_who_works(admin_client: Client, dead: QueuedTask) -> None:
    defer("queue.sweep", at=timedelta(hours=1))
    QueueWorker.objects.create(host="machine-7", pid=1, processes=4, restarts=2, trouble="it was deaf")
    page = admin_client.get(PAGE).content.decode()
    for text in ("try.explode", "queue.sweep", "machine-7", "it was deaf", "given up", "RuntimeError"):
        assert text in page
    assert "<script>alert(1)" not in page
    only_dead = admin_client.get(PAGE, {"state__exact": "dead"}).content.decode()
    assert "queue.sweep" not in only_dead.split('id="result_list"')[1]
    detail = admin_client.get(reverse("admin:config_queuedtask_change", args=[dead.pk])).content.decode()
    assert "test_queue_page.py" in detail, "where it failed"


def test_the_page_tells_what_came_right_by_itself(admin_client: Client, dead: QueuedTask) -> None:
    QueuedTask.objects.filter(pk=dead.pk).update(key='["try.explode"]')
    assert "given up, then done" not in admin_client.get(PAGE).content.decode()
    QueuePeriod.objects.create(name="try.explode", slot=1, succeeded=dead.pk + 1)
    assert "given up, then done" in admin_client.get(PAGE, {"state__exact": "dead"}).content.decode()


def test_an_empty_queue_without_workers_says_so(admin_client: Client) -> None:
    assert "No worker runs" in admin_client.get(PAGE).content.decode()


@pytest.mark.parametrize(("action", "left"), [("retry", "waiting"), ("discard", None)])
def test_staff_with_the_permission_retry_and_discard(
    admin_client: Client, dead: QueuedTask, action: str, left: str
) -> None:
    answer = admin_client.post(PAGE, {"action": action, "_selected_action": [dead.pk]}, follow=True)
    assert answer.status_code == 200
    state = QueuedTask.objects.filter(pk=dead.pk).values_list("state", flat=True).first()
    assert state == left


def test_staff_who_may_only_look_change_nothing(client: Client, dead: QueuedTask) -> None:
    user = User.objects.create_user("viewer", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_queuedtask"))
    client.force_login(user)
    assert client.get(PAGE).status_code == 200
    client.post(PAGE, {"action": "discard", "_selected_action": [dead.pk]})
    assert QueuedTask.objects.filter(pk=dead.pk, state="dead").exists()


def test_nobody_adds_edits_or_deletes_rows(admin_client: Client, dead: QueuedTask) -> None:
    assert admin_client.get(PAGE + "add/").status_code == 403
    assert admin_client.post(f"{PAGE}{dead.pk}/change/", {"name": "os.system"}).status_code == 403
    assert admin_client.post(f"{PAGE}{dead.pk}/delete/", {"post": "yes"}).status_code == 403
    assert QueuedTask.objects.get(pk=dead.pk).name == "try.explode"


def test_the_page_is_cheap_whatever_the_queue_holds(
    admin_client: Client, django_assert_max_num_queries: object
) -> None:
    for _ in range(60):
        defer("queue.sweep", at=timedelta(hours=1))
    with django_assert_max_num_queries(16):  # type: ignore[operator]
        assert admin_client.get(PAGE).status_code == 200


def test_the_page_speaks_of_everything_in_order(admin_client: Client) -> None:
    for number in range(3):
        defer("queue.sweep", at=timedelta(seconds=-number))
    for order in ("1", "2", "3", "4", "5"):
        assert admin_client.get(PAGE, {"o": order}).status_code == 200
    assert admin_client.get(PAGE, {"q": "sweep"}).status_code == 200
