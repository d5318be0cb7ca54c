"""What a conversation refuses."""

from conversations.tally import RefusedError


class ConversationError(RefusedError):
    """The conversation refuses this."""

    permanent = True  # the same call would be refused again

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "")


class BlankMessageError(ConversationError):
    """A message without a visible character opens no burst and is not stored."""

    code = "blank"


class ConversationClosedError(ConversationError):
    """The conversation is closed; its chat may open a new one."""

    code = "session_closed"


class UnknownActivityError(ConversationError):
    """An activity is typing, recording, uploading or cancel."""


class NotInBurstError(ConversationError):
    """There is no such message in this conversation."""


class NothingToDecideError(ConversationError):
    """Only what did not surely arrive can be sent again, confirmed or given up."""


class NothingToRetryError(ConversationError):
    """Only a failed turn can be tried again."""
