"""The staff pages of conversations, one file each."""

from conversations.admin.api_key import ApiKeyAdmin
from conversations.admin.conversation import ConversationAdmin

__all__ = ["ApiKeyAdmin", "ConversationAdmin"]
