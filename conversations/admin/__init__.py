"""The staff pages of conversations, one file each."""

from conversations.admin.conversation import ConversationAdmin

__all__ = ["ConversationAdmin"]
