"""The HTTP API: one file per group of calls, and one for each thing all of them share."""
