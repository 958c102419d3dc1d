"""Processes of this machine: who runs below whom, and who holds a connection."""

from contextlib import suppress

import psutil


def family(ancestor: int) -> dict[int, str]:
    """A process and all below it, that still run: process ids and their titles."""
    titles = {}
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(ancestor)
        for process in [first, *first.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # it has just ended
                titles[process.pid] = " ".join(process.cmdline())
    return titles


def holds_connection(pid: int, port: int) -> bool:
    """Whether a process has a TCP connection whose other end is at this port."""
    with suppress(psutil.NoSuchProcess):
        connections = psutil.Process(pid).net_connections("tcp")
        return any(connection.raddr and connection.raddr.port == port for connection in connections)
    return False
