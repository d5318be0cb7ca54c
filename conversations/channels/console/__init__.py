"""The terminal: a person at the keyboard of the machine Parley runs on."""
