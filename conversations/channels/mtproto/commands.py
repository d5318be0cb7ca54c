"""What a person may say to the account instead of to the agent: the same words as to a bot."""

from conversations.commands import COMMANDS, carry_out

__all__ = ["COMMANDS", "carry_out"]
