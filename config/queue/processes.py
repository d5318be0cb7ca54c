"""Process groups that leave nobody behind."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def _prctl(option: int, value: int) -> None:
    """Elsewhere than on Linux nothing happens: a killed supervisor's clusters then end with their next task."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of what our children leave behind, so that it can be reaped."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Let the kernel kill us when our parent dies; it may be dead already."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(137)


def fork_group(main: Callable[[], None]) -> int:
    """Run `main` in a child that leads a session of its own; everything forked below dies with its parent."""
    supervisor = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            die_with_parent(supervisor)
            parent = [os.getpid()]
            os.register_at_fork(
                before=lambda: parent.__setitem__(0, os.getpid()), after_in_child=lambda: die_with_parent(parent[0])
            )
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            main()
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_group(leader: int) -> None:
    """End every process of the group, now."""
    with suppress(ProcessLookupError, PermissionError):  # already gone; macOS says "not permitted" of zombies
        os.killpg(leader, signal.SIGKILL)


def kill_unless_stopped(pid: int) -> bool:
    """End one process, now. A process that was stopped by a signal is silent for that reason."""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
            return False
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def ask_to_stop(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)


def group_exists(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_older(pid: int, moment: float) -> bool:
    """Is there a process of that number, and did it begin before that moment (seconds since 1970)?"""
    try:
        return psutil.Process(pid).create_time() <= moment
    except psutil.NoSuchProcess:
        return False


def members(leader: int) -> set[int]:
    """The living processes of a group, zombies not counted."""
    found = set()
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return found


def reap() -> dict[int, int]:
    """Collect every child that ended, with its exit status."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)
