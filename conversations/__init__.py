"""What was said: conversations, messages, buffers, turns, deliveries, the channels and the HTTP API.

It knows `agents`, `search` and `config`; nobody knows it.
"""
