"""The guide tells the truth: its shell lines run against a real server, and it names every code there is."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
from django.db import connection

from conversations import keys
from conversations.models import Scope
from tests import raw
from tests.processes import ROOT
from tests.web import serving

GUIDE = (ROOT / "docs" / "api.md").read_text()


@pytest.mark.django_db(transaction=True)
def test_the_lines_of_the_guide_run_as_they_stand() -> None:
    token = keys.create("guide", by="test")[1]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL))
    address = raw.url()
    connection.close()
    with serving(address, token) as site:
        given: dict[str, Any] = {"PATH": os.environ["PATH"], "API": f"http://127.0.0.1:{site.port}/api", "KEY": token}
        # Twice, since calls are promised to be safe to repeat.
        for _ in range(2):
            done = subprocess.run(
                ["/bin/bash", "-eux", "-o", "pipefail", "-c", script],
                env=given,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr


def test_the_guide_names_every_code_and_every_scope() -> None:
    sources = [*(ROOT / "conversations" / "api").glob("*.py"), ROOT / "config" / "bodies.py"]
    text = "\n".join(path.read_text() for path in sources)
    codes = set(re.findall(r'(?:ApiError|refusal|Refused)\(\s*\d{3},\s*"(\w+)"', text))
    codes |= set(re.findall(r'refused\("(\w+)"', text)) | {"database_unavailable", "busy"}
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in GUIDE} == {"internal_error"}
    assert {scope for scope in Scope.values if f"`{scope}`" not in GUIDE} == set()
