"""Memory that malloc keeps for later, given back to the system.

Serve hands a body on in pieces of 64 kB, as fast as they come. They are freed at once, but what
was taken for hundreds of megabytes of them stays with glibc, in holes it does not give back by
itself. After eight uploads of 300 MB a replica of 90 MiB had 358 and rising (566 at the most); with
this, 253 and level since the first (402 at the most). `python -m benchmarks.uploads --big 8`.
"""

import ctypes

WORTH_IT = 16 * 2**20
"""Bytes of a body from which it pays; walking the heap takes milliseconds."""

_libc = ctypes.CDLL(None)


def give_back() -> None:
    """Return free memory to the system; blocks for milliseconds. Without glibc, do nothing."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
