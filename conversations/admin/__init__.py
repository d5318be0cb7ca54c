"""The staff pages of conversations, one file each."""

from conversations.admin.api_key import ApiKeyAdmin
from conversations.admin.burst import OpenBurstAdmin
from conversations.admin.conversation import ConversationAdmin
from conversations.admin.delivery import DeliveryAdmin
from conversations.admin.imports import ImportBatchAdmin, ImportRejectAdmin
from conversations.admin.turn import TurnAdmin

__all__ = [
    "ApiKeyAdmin",
    "ConversationAdmin",
    "DeliveryAdmin",
    "ImportBatchAdmin",
    "ImportRejectAdmin",
    "OpenBurstAdmin",
    "TurnAdmin",
]
