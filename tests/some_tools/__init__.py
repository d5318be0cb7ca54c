"""A package of tools for tests: what is in it may be registered."""
