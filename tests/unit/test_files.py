"""The files around the code keep the promises that no compiler checks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
tracked = listing.stdout.splitlines()


def test_compose_runs_what_the_procfile_runs() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert set(services) == {"db", "migrate", "web", "worker", "bot"}
    assert "pgvector" in services["db"]["image"]
    for name in ("web", "worker", "bot"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    for name in ("db", "web", "worker"):
        assert "test" in services[name]["healthcheck"]
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    for name, command in procfile.items():
        assert services[name]["command"] == command.removeprefix("exec ").split()


def test_containers_of_ours_may_nothing_and_stop_at_once() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("migrate", "web", "worker", "bot"):
        assert services[name]["init"]
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["logging"]["options"]["max-size"]
    assert [name for name in services if "build" in services[name]] == ["migrate"]
    assert "-h 127.0.0.1" in services["db"]["healthcheck"]["test"][1], "the socket answers before the server is ready"
    assert services["web"]["ports"] == ["${BIND:-127.0.0.1}:${PORT:-8000}:8000"]


def test_process_one_ends_at_sigterm_before_anything_of_ours_handles_it() -> None:
    script = "import config, os, signal; print(os.getpid()); os.kill(1, signal.SIGTERM); print('still there')"
    command = ["unshare", "--map-root-user", "--pid", "--fork", sys.executable, "-c", script]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare")
    if done.stderr.startswith("unshare"):
        pytest.skip("this kernel gives no namespaces")
    assert (done.returncode, "still there" in done.stdout) == (143, False), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["migrate", "web", "worker", "bot"])
def test_every_line_of_dot_env_reaches_a_container_but_for_where_it_listens_and_keeps(name: str) -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name]
    assert [file["path"] for file in service["env_file"]] == [".env"]
    pinned = {"DEBUG": "false", "HOST": "0.0.0.0", "PORT": "8000", "DATA_DIR": "/app/var"}  # noqa: S104
    assert pinned.items() <= service["environment"].items()


def test_the_image_is_built_from_the_lock_and_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert "--compile-bytecode" in text
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE), "a number: Kubernetes cannot judge a name"
    assert text.index("USER 10001") < text.index("CMD")
    assert "# syntax" not in text, "it would be fetched from a registry before anything else"


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-uv.txt"])
def test_every_locked_package_has_a_hash_and_no_lock_names_a_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert packages
    assert all(line.endswith("\\") for line in packages)
    assert not re.search(r"https?://|--index-url|--find-links", text)


@pytest.mark.skipif(not tracked, reason="not a git checkout (a source archive has no list of its files)")
def test_no_secret_and_no_data_is_tracked() -> None:
    assert not [name for name in tracked if name == ".env" or name.startswith(("var/", "staticfiles/"))]
    looks_like_a_key = re.compile(r"sk-[A-Za-z0-9]{20,}|\d{9,10}:[A-Za-z0-9_-]{35}|-----BEGIN [A-Z ]*PRIVATE KEY")
    texts = {name: (ROOT / name).read_bytes() for name in tracked if (ROOT / name).is_file()}
    assert not [name for name, text in texts.items() if looks_like_a_key.search(text.decode(errors="ignore"))]
