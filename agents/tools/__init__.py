"""What agents may do: every module here can be registered as a tool, and nothing else can."""
