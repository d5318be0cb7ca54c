"""Named places where a test lets the process die, as by SIGKILL: nothing is cleaned up, nothing is said."""

import os

CRASH_AT = os.environ.get("CRASH_AT", "")  # the point's name, or "name:n" for its n-th passing
_name, _, _nth = CRASH_AT.partition(":")
_passed = 0


def crash_point(name: str) -> None:
    """Die here if the environment says so."""
    global _passed
    if name != _name:
        return
    _passed += 1
    if _passed == int(_nth or 1):
        os._exit(137)
