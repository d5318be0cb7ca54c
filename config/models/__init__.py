"""The tables of the ground floor."""

from config.models.queue_minute import QueueMinute
from config.models.queue_period import QueuePeriod
from config.models.queue_worker import QueueWorker
from config.models.queued_task import QueuedTask

__all__ = ["QueueMinute", "QueuePeriod", "QueueWorker", "QueuedTask"]
