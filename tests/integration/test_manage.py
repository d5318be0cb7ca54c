"""The operator's entrance, as a shell uses it."""

from __future__ import annotations

import subprocess
import sys

from tests.processes import ROOT


def test_a_reader_that_has_seen_enough_costs_no_traceback() -> None:
    """`manage.py search x | head`."""
    command = [sys.executable, "-c", "import sys, manage; sys.argv = ['manage.py', 'help']; manage.main()"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 141)
