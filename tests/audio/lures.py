"""Uploads that try to make ffmpeg open something else: a path, or an address."""

import struct
from pathlib import Path


def hls(target: str) -> bytes:
    """An HLS playlist of one part."""
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n".encode()


def encrypted_hls(target: str) -> bytes:
    """An HLS playlist whose key and first bytes lie elsewhere as well."""
    lines = (
        *("#EXTM3U", "#EXT-X-TARGETDURATION:3"),
        f'#EXT-X-KEY:METHOD=AES-128,URI="{target}"',
        f'#EXT-X-MAP:URI="{target}"',
        *("#EXTINF:3,", target, "#EXT-X-ENDLIST", ""),
    )
    return "\n".join(lines).encode()


def asx(target: str) -> bytes:
    """What Windows Media servers answer in the place of a file: where it is."""
    return f"[Reference]\r\nRef1={target}\r\nRef2={target}\r\n".encode()


def concat(target: str) -> bytes:
    """A concat script of one file."""
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def dash(target: str) -> bytes:
    """A DASH manifest of one part."""
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT3S"><Period><AdaptationSet contentType="audio">'
        '<Representation id="0" mimeType="audio/mp4" bandwidth="1000">'
        f"<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()


def sdp(target: str) -> bytes:
    """A session description: what to receive, and from where."""
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={target}\nt=0 0\nm=audio 9 RTP/AVP 0\n".encode()


def mov(target: str, movie: bytes) -> bytes:
    """`movie` without its sound, which is said to lie in the file `target` (a data reference).

    QuickTime File Format, "Data reference atoms": an `alis` entry is an alias record, of which
    ffmpeg reads the absolute path (item 2).
    """
    at = movie.index(b"dref") + 12
    (old_size,) = struct.unpack(">I", movie[at : at + 4])
    path = target.encode() + b"\0" * (len(target) % 2)
    items = struct.pack(">HH", 2, len(target)) + path + struct.pack(">hH", -1, 0)
    alias = bytes(150) + items
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    out = bytearray(movie[:at] + entry + movie[at + old_size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size_at = out.rindex(name, 0, at) - 4
        (size,) = struct.unpack(">I", out[size_at : size_at + 4])
        out[size_at : size_at + 4] = struct.pack(">I", size + len(entry) - old_size)
    data_at = out.index(b"mdat")
    (size,) = struct.unpack(">I", out[data_at - 4 : data_at])
    out[data_at + 4 : data_at - 4 + size] = bytes(size - 8)
    return bytes(out)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
