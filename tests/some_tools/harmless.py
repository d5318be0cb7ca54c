"""A tool that does nothing."""


def run() -> str:
    return "done"
