"""Tasks for real workers to run, and to be killed in."""
