"""What ffmpeg writes to stderr, understood as far as an answer to the user needs it.

Owns a bounded memory of it; nothing ffmpeg wrote is shown to a client. Lines begin with their
level (`-loglevel level+info`); the dump of the input begins with `Input #0`, and errors before it
are those of probing.
"""

import re
from collections import deque

_MAX_LINE_BYTES = 1024
"""More of a line is only tags of the file: lyrics, comments."""
_TAIL_LINES = 20

_LINE = re.compile(r"(?:\[[^\]]* @ 0x[0-9a-f]+\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)")
# Two spaces exactly: the file's own tags are indented deeper, so they cannot pose as these.
_DURATION = re.compile(r"  Duration: (?:N/A|(\d+):(\d\d):(\d\d\.\d+))")
_STREAM = re.compile(r"  Stream #0:\d+[^ ]*: (?P<kind>Audio|Video): (?P<rest>.*)")


class FfmpegLog:
    """Fed with ffmpeg's stderr as it comes, in pieces of any size."""

    def __init__(self) -> None:
        self._partial = b""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        """The last lines, for our own log."""
        self.has_input = False
        """The container was recognised and its header read."""
        self.has_duration_line = False
        """`duration` will not change any more."""
        self.duration: float | None = None
        """Seconds, as the container says or as was estimated."""
        self.is_estimate = False
        """`duration` is a guess from the bit rate."""
        self.has_audio = False
        self.has_video = False
        self.is_damaged = False
        """Something in the data, after the header, could not be read."""
        self.lacks_index = False
        """An mp4 file without its index (moov)."""
        self.is_refused = False
        """A format that is known and not allowed."""

    def feed(self, data: bytes) -> None:
        """Read the lines that `data` completes."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[:_MAX_LINE_BYTES]
        for line in lines:
            self._read_line(line[:_MAX_LINE_BYTES].decode("utf-8", "replace"))

    def _read_line(self, line: str) -> None:
        self.tail.append(line)
        if not (parts := _LINE.match(line)):
            return
        level, text = parts["level"], parts["text"]
        if text.startswith("Input #0"):
            self.has_input = True
        elif found := _DURATION.match(text):
            self._read_duration(found)
        elif found := _STREAM.match(text):
            self._read_stream(found)
        elif level == "info":
            return
        elif "Estimating duration" in text:
            self.is_estimate = True
        elif "moov atom not found" in text:
            self.lacks_index = True
        elif "not on whitelist" in text:
            self.is_refused |= text.startswith("Format")
        elif self.has_input and level in ("error", "fatal"):
            self.is_damaged = True

    def _read_duration(self, found: re.Match[str]) -> None:
        self.has_duration_line = True
        if found[1]:
            self.duration = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])

    def _read_stream(self, found: re.Match[str]) -> None:
        if found["kind"] == "Audio":
            self.has_audio = True
        elif "(attached pic)" not in found["rest"]:  # a cover lasts no time
            self.has_video = True
