"""Tools that act on another server: the one of the test."""
