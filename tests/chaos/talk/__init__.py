"""Real workers whose agent asks a model on the loopback, where every call is written down."""
