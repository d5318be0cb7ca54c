"""The tables of what was said, one file each."""

from conversations.models.api_key import ApiKey, Scope
from conversations.models.conversation import Conversation, Mode
from conversations.models.message import Message, Role

__all__ = ["ApiKey", "Conversation", "Message", "Mode", "Role", "Scope"]
