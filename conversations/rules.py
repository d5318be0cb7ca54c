"""What the database holds of conversations, by name (config/rules.py)."""

from config.rules import declare

declare(
    "conversations",
    triggers=[
        "conversations_changed",
        "conversations_found_anew",
        "conversations_refuse_delete",
        "conversations_refuse_truncate",
        "conversations_start_empty",
    ],
    unique=["conversations_one_live_per_chat"],
)
declare(
    "messages",
    triggers=[
        "messages_count",
        "messages_count_deleted",
        "messages_number",
        "messages_refuse_change",
        "messages_refuse_delete",
        "messages_refuse_truncate",
    ],
    unique=["messages_one_per_external_id", "messages_one_per_index"],
)
declare("message_buffers", unique=["message_buffers_one_per_step"])
declare(
    "message_fates",
    triggers=["message_fates_leave_together", "message_fates_leave_with_messages", "message_fates_stay"],
    unique=["message_fates_message_id_key"],
)
declare("turns", unique=["turns_flush_id_key", "turns_one_running"])
declare("deliveries", triggers=["deliveries_place"], unique=["deliveries_one_per_part", "deliveries_one_sending"])
declare("delivery_gates", unique=["delivery_gates_one_per_chat"])
declare("bots", unique=["bots_one_per_account"])
declare("channel_updates", unique=["channel_updates_once_per_bot"])
declare("chat_moves", unique=["chat_moves_once"])
declare("api_keys", unique=["api_keys_prefix_key"])
declare("tallies", unique=["tallies_one_per_hour"])
declare("imports", unique=["imports_one_open_per_source"])
declare("import_chats", unique=["import_chats_one_per_key"])
declare("import_shares", unique=["import_shares_one_per_conversation"])
