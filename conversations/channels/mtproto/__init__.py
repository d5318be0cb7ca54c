"""A user account of Telegram, by MTProto: what a bot cannot see, such as typing, an account can."""

NAME = "mtproto"
