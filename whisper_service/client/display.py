"""What a person sees while a command runs: final text in lines, the rest rewritten in place.

On a terminal the last line is live: the stable part as it is, the unstable part dimmed. Elsewhere
nothing but final text is written, so that a pipe gets only what will not change.
"""

import shutil
import unicodedata
from typing import TextIO

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_REWRITE = "\r\x1b[K"


class Display:
    """Writes to one stream; `columns` is given by tests, else the terminal's own."""

    def __init__(self, out: TextIO, *, is_live: bool, columns: int | None = None) -> None:
        self._out = out
        self._is_live = is_live
        self._columns = columns
        self._has_live_line = False

    def final(self, text: str) -> None:
        """Write text that stays."""
        self.clear()
        self._write(f"{_printable(text.strip())}\n")

    def partial(self, stable: str, unstable: str) -> None:
        """Show what may still change, in place of what was shown before."""
        if not self._is_live:
            return
        room = (self._columns or shutil.get_terminal_size().columns) - 1
        stable, unstable = _printable(stable.lstrip()), _printable(unstable)
        if not stable:
            unstable = unstable.lstrip()
        whole = _tail(stable + unstable, room)
        n_unstable = min(len(unstable), len(whole))
        split = len(whole) - n_unstable
        self._write(f"{_REWRITE}{whole[:split]}{_DIM}{whole[split:]}{_PLAIN}")
        self._has_live_line = True

    def status(self, text: str) -> None:
        """Show how far things are, in place of what was shown before."""
        self.partial("", text)

    def clear(self) -> None:
        """Take the live line away."""
        if self._has_live_line:
            self._write(_REWRITE)
            self._has_live_line = False

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _tail(text: str, room: int) -> str:
    """Return the end of `text` that fits into `room` columns; a wrapped line stays for good."""
    width = 0
    for index in range(len(text) - 1, -1, -1):
        width += 2 if unicodedata.east_asian_width(text[index]) in "WF" else 1
        if width > room:
            return text[index + 1 :]
    return text


def _printable(text: str) -> str:
    """Without control characters: nothing that was said may drive the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)
