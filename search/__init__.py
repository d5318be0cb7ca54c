"""What can be found: the search index, its embedders, and the one query function.

It knows the ground floor (`config`) only; other rooms declare what they want found.
"""
