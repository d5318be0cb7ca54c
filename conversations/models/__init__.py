"""The tables of what was said, one file each."""

from conversations.models.api_key import ApiKey, Scope
from conversations.models.bot import Bot
from conversations.models.channel_update import ChannelUpdate
from conversations.models.chat_move import ChatMove
from conversations.models.conversation import Conversation, Mode
from conversations.models.delivery import Delivery, DeliveryStatus
from conversations.models.delivery_gate import DeliveryGate
from conversations.models.import_batch import ImportBatch, ImportStatus
from conversations.models.import_chat import ImportChat
from conversations.models.import_reject import ImportReject, RejectReason, RejectState
from conversations.models.import_share import ImportShare, ShareState
from conversations.models.message import Message, Role
from conversations.models.message_buffer import MessageBuffer
from conversations.models.message_fate import Fate, MessageFate
from conversations.models.outage import Outage
from conversations.models.tally import Tally
from conversations.models.turn import Trigger, Turn, TurnStatus

__all__ = [
    "ApiKey",
    "Bot",
    "ChannelUpdate",
    "ChatMove",
    "Conversation",
    "Delivery",
    "DeliveryGate",
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
    "Outage",
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
