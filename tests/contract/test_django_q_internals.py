"""What our broker relies on inside django-q2 (docs/adr/0010): a failure means reading its source before upgrading."""

import inspect
import pickle

import django_q
import pytest
from django.conf import settings
from django_q import cluster, monitor, pusher, signing, tasks, worker
from django_q.brokers import Broker as DjangoQBroker
from django_q.brokers import get_broker
from django_q.conf import Conf

from config.queue import Broker, UnknownTaskError, rows, run
from config.queue.broker import ENTRY_POINT, package


def test_the_version_is_the_one_that_was_read() -> None:
    assert ".".join(map(str, django_q.VERSION)) == "1.11.1"


def test_our_broker_is_the_one_django_q_uses() -> None:
    assert isinstance(get_broker(), Broker)
    assert Conf.BROKER_CLASS == "config.queue.Broker"
    assert Conf.SCHEDULER is False
    assert Conf.SAVE_LIMIT == -1
    assert (Conf.QUEUE_LIMIT, Conf.BULK, Conf.MAX_ATTEMPTS) == (1, 1, 1)
    assert not Conf.SYNC


def test_every_method_of_a_broker_is_ours() -> None:
    theirs = {name for name, _ in inspect.getmembers(DjangoQBroker, inspect.isfunction) if not name.startswith("__")}
    inherited = {name for name in theirs if getattr(Broker, name) is getattr(DjangoQBroker, name)}
    assert inherited == {"get_connection", "get_stat", "get_stats", "set_stat"}, "statistics go nowhere without a cache"


def test_packages_are_signed_json_and_pickle_is_refused() -> None:
    claimed = rows.Claimed(rows.Claim(7, 8), "a.task", 60, "leased", 1)
    assert signing.SignedPackage.loads(package(claimed))["args"] == [7, 8]
    pickled = signing.signing.dumps(
        {"func": "os.system"}, key=Conf.SECRET_KEY, salt=Conf.PREFIX, serializer=type("P", (), {"dumps": pickle.dumps})
    )
    with pytest.raises((ValueError, signing.BadSignature)):
        signing.SignedPackage.loads(pickled)


def test_the_entry_point_is_found_by_its_name() -> None:
    import pydoc

    assert pydoc.locate(ENTRY_POINT) is run


@pytest.mark.parametrize(
    ("function", "relied_on"),
    [
        (pusher.pusher, ["task_set = broker.dequeue()", "ack_id = task[0]", "SignedPackage.loads(task[1])"]),
        (pusher.pusher, ["if event.is_set():", "broker.fail(ack_id)"]),
        (worker.worker, ['timer_value = task.pop("timeout", timeout)', "with TimeoutHandler(timer_value):"]),
        (worker.worker, ["pydoc.locate(f)", 'f(*task["args"], **task["kwargs"])', "timer.value += 3"]),
        (monitor.monitor, ['ack_id = task.pop("ack_id", False)', "if ack_id and"]),
        (monitor.save_task, ['if not task.get("save", Conf.SAVE_LIMIT >= 0) and task["success"]:']),
        (cluster.Sentinel.__init__, ["self.pool_size = Conf.WORKERS", "Queue(maxsize=Conf.QUEUE_LIMIT)"]),
        (cluster.Sentinel.__init__, ["self.broker = broker or get_broker()"]),
        (cluster.Cluster.__init__, ["signal.signal(signal.SIGTERM, self.sig_handler)"]),
        (cluster.Cluster.start, ["self.sentinel.start()"]),
        (cluster.get_mp_context, ['get_context("fork")']),
        (tasks.async_task, ["pack = SignedPackage.dumps(task)", "enqueue_id = broker.enqueue(pack)"]),
        (signing.SignedPackage.dumps, ["serializer=PickleSerializer"]),
        (signing.SignedPackage.loads, ["serializer=PickleSerializer"]),
    ],
)
def test_the_lines_we_lean_on_stand(function: object, relied_on: list[str]) -> None:
    source = inspect.getsource(function)  # type: ignore[arg-type]
    assert [line for line in relied_on if line not in source] == []


@pytest.mark.django_db
def test_async_task_queues_registered_names_only() -> None:
    tasks.async_task(ENTRY_POINT, "queue.tidy")
    for function, args in (("os.system", ["id"]), (ENTRY_POINT, ["os.system"]), (ENTRY_POINT, []), (print, [])):
        with pytest.raises(UnknownTaskError):
            tasks.async_task(function, *args)
    from config.models import QueuedTask

    assert list(QueuedTask.objects.values_list("name", "args")) == [("queue.tidy", "[]")]


def test_the_settings_say_what_the_documentation_says() -> None:
    assert settings.Q_CLUSTER["retry"] > 3600, "django-q2 warns where retry is below a timeout"
