"""What can go wrong with a task before it runs."""


class QueueError(Exception):
    """The queue refuses this."""

    permanent = True

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")


class UnknownTaskError(QueueError):
    """No task of this name is registered here."""

    permanent = False  # a newer release may have queued it: it may know it after the deploy


class ArgumentsError(QueueError):
    """Arguments must be small JSON values: ids, not contents."""


class UnreadableError(QueueError):
    """The row was not written by this system, or was changed since."""
