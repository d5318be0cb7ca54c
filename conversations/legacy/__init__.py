"""The old world moves in: read a source that is never touched, store what is new, prove it, and undo it if need be."""
