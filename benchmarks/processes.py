"""Processes of this machine, as /proc tells of them."""

from pathlib import Path


def family(ancestor: int) -> dict[int, str]:
    """A process and all below it, that still run: process ids and their titles."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            titles[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        if stat[0] != "Z":
            parents[int(folder.name)] = int(stat[1])
    return {pid: title for pid, title in titles.items() if _is_in(pid, ancestor, parents)}


def _is_in(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == ancestor:
            return True
        pid = parents[pid]
    return False
