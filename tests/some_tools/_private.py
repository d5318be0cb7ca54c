"""Not a tool: its name begins with an underscore."""
