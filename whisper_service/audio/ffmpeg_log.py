"""What ffmpeg writes to stderr, understood as far as an answer to the user needs it.

Owns a bounded memory of it; nothing ffmpeg wrote is shown to a client. Lines begin with their
level (`-loglevel level+info`); the dump of the input begins with `Input #0`, and errors before it
are those of probing.
"""

import re
from collections import deque
from dataclasses import dataclass

_MAX_LINE_BYTES = 1024
"""More of a line is only tags of the file: lyrics, comments."""
_TAIL_LINES = 20

_LINE = re.compile(r"(?:\[[^\]]* @ 0x[0-9a-f]+\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)")
_INPUT = re.compile(r"Input #0, (\w+)")
# Two spaces exactly: the file's own tags are indented deeper, so they cannot pose as these.
_DURATION = re.compile(r"  Duration: (?:N/A|(\d+):(\d\d):(\d\d\.\d+))")
_STREAM = re.compile(r"  Stream #0:\d+[^ ]*: (?P<kind>\w+): (?P<rest>.*)")
_CODEC = re.compile(r"(?:(?:none|unknown) \()?([\w.-]{1,20})")
_CHANNELS = re.compile(r"(\d+) channels|(\d+)\.(\d)(?:\.(\d))?(?:\(|$)")
_NAMED_CHANNELS = {"mono": 1, "stereo": 2, "downmix": 2, "quad": 4, "hexagonal": 6, "octagonal": 8}
_NO_DECODER = re.compile(r"Codec .* not on whitelist|Decoder .* not found|.* no decoder found")


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """An audio track as the header has it."""

    codec: str
    """ffmpeg's name; of a codec that it does not know, the file's own."""
    n_channels: int
    is_default: bool


class FfmpegLog:
    """Fed with ffmpeg's stderr as it comes, in pieces of any size."""

    def __init__(self) -> None:
        self._partial = b""
        self._is_dump_over = False
        """What is said of streams is no longer said of the input's."""
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        """The last lines, for our own log."""
        self.has_input = False
        """The container was recognised and its header read."""
        self.container = ""
        """ffmpeg's first name for it: `mov` of `mov,mp4,m4a`."""
        self.has_duration_line = False
        """`duration` will not change any more."""
        self.duration: float | None = None
        """Seconds, as the container says or as was estimated."""
        self.is_estimate = False
        """`duration` is a guess from the bit rate."""
        self.tracks: list[AudioTrack] = []
        """Audio alone, in the file's order; ffmpeg reads a thousand at the most."""
        self.n_streams = 0
        """Audio, video, subtitles, data; not covers, which last no time."""
        self.lacks_decoder = False
        """The audio track that was taken is in a codec that is unknown or not allowed."""
        self.is_damaged = False
        """Something in the data, after the header, could not be read."""
        self.lacks_index = False
        """An mp4 file without its index (moov)."""
        self.is_index_last = False
        """An mp4 stream whose sound came before its index, and cannot be gone back to."""
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
        if found := _INPUT.match(text):
            self.has_input = True
            self.container = found[1]
        elif text.startswith(("Stream mapping:", "Output #0")):
            self._is_dump_over = True
        elif found := _DURATION.match(text):
            self._read_duration(found)
        elif found := _STREAM.match(text):
            if not self._is_dump_over:
                self._read_stream(found["kind"], found["rest"])
        elif level == "info":
            return
        elif "Estimating duration" in text:
            self.is_estimate = True
        elif "moov atom not found" in text:
            self.lacks_index = True
        elif _NO_DECODER.match(text):
            self.lacks_decoder |= self.has_input
        elif "not on whitelist" in text:
            self.is_refused |= text.startswith("Format")
        elif self.has_input and level in ("error", "fatal"):
            self.is_damaged = True
            self.is_index_last |= text.endswith("partial file")

    def _read_duration(self, found: re.Match[str]) -> None:
        self.has_duration_line = True
        if found[1]:
            self.duration = int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])

    def _read_stream(self, kind: str, rest: str) -> None:
        if "(attached pic)" not in rest:
            self.n_streams += 1
        if kind == "Audio":
            codec = _CODEC.match(rest)
            self.tracks.append(
                AudioTrack(
                    codec=codec[1] if codec else "unknown",
                    n_channels=max(map(_n_channels, rest.split(", "))),
                    is_default="(default)" in rest,
                )
            )


def _n_channels(field: str) -> int:
    layout = field.split(" (")[0]  # the last field is followed by `(default)` and the like
    if found := _CHANNELS.match(layout):
        return sum(int(number) for number in found.groups() if number)
    return _NAMED_CHANNELS.get(layout.split("(")[0], 0)
