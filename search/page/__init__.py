"""The staff's search page: what was found, why, how fast, and how much of it to believe."""
