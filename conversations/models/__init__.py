"""The tables of what was said, one file each."""

from conversations.models.api_key import ApiKey, Scope
from conversations.models.conversation import Conversation, Mode
from conversations.models.delivery import Delivery, DeliveryStatus
from conversations.models.import_batch import ImportBatch, ImportStatus
from conversations.models.import_chat import ImportChat
from conversations.models.import_reject import ImportReject, RejectReason, RejectState
from conversations.models.import_share import ImportShare, ShareState
from conversations.models.message import Message, Role
from conversations.models.message_buffer import MessageBuffer
from conversations.models.message_fate import Fate, MessageFate
from conversations.models.tally import Tally
from conversations.models.turn import Trigger, Turn, TurnStatus

__all__ = [
    "ApiKey",
    "Conversation",
    "Delivery",
    "DeliveryStatus",
    "Fate",
    "ImportBatch",
    "ImportChat",
    "ImportReject",
    "ImportShare",
    "ImportStatus",
    "Message",
    "MessageBuffer",
    "MessageFate",
    "Mode",
    "RejectReason",
    "RejectState",
    "Role",
    "Scope",
    "ShareState",
    "Tally",
    "Trigger",
    "Turn",
    "TurnStatus",
]
