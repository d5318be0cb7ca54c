"""Misconfiguration, told when the process starts and not when it matters."""
