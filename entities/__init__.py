"""What evolves: characters, projects, ideas, notes and whatever comes next, and the safe way to change their schema.

It knows `agents`, `search` and `config`.
"""
