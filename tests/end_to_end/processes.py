"""The service's processes, found by their parents, so that only its own are ever touched."""

import os
from pathlib import Path

import pytest


def replica_pid(service_pid: int, deployment: str) -> int | None:
    """Return the process of a deployment's replica; None while there is none."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc to find a replica's process")
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            titles[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        if stat[0] != "Z":
            parents[int(folder.name)] = int(stat[1])
    for pid, title in titles.items():
        if f":{deployment}" in title and _is_below(pid, service_pid, parents):
            return pid
    return None


def kill_hard(pid: int) -> None:
    """As a crash, the kernel or a node that goes away would."""
    os.kill(pid, 9)


def _is_below(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False
