"""`python -m tests.chaos --seed 7 --messages 10000`: one storm and its verdict; exit code 1 for a fault."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from tests.chaos.storm import Storm, Weather  # noqa: E402
from tests.chaos.world import world  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    for name in ("messages", "writers", "conversations", "kills", "pauses", "restarts"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Weather, name))
    given = vars(parser.parse_args())
    seed = given.pop("seed")
    with world("tests.chaos.talk_settings") as made:
        report = Storm(made, replace(Weather(), **given), seed).run()
    print("\n".join(report.lines()))  # noqa: T201
    return not report.verdict.clean


if __name__ == "__main__":
    sys.exit(main())
