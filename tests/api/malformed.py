"""What nobody should send: files with something broken in them, conversations off the rails.

Everything comes from a seed, so that a case that fails can be played again.
"""

import json
import random
from collections.abc import Callable

from tests.api.fakes import level

Mutation = Callable[[random.Random, bytearray], bytes]


def _cut(chance: random.Random, data: bytearray) -> bytes:
    return bytes(data[: chance.randrange(len(data))])


def _behead(chance: random.Random, data: bytearray) -> bytes:
    return bytes(data[chance.randrange(1, len(data)) :])


def _flip(chance: random.Random, data: bytearray) -> bytes:
    for _ in range(chance.choice((1, 10, 200))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _spoil_head(chance: random.Random, data: bytearray) -> bytes:
    """Where containers keep their sizes and counts."""
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(min(200, len(data) - 4))
        data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
    return bytes(data)


def _overwrite(chance: random.Random, data: bytearray) -> bytes:
    at, size = chance.randrange(len(data)), chance.randrange(1, 4096)
    data[at : at + size] = chance.randbytes(size)
    return bytes(data)


def _repeat(chance: random.Random, data: bytearray) -> bytes:
    at, size = chance.randrange(len(data)), chance.randrange(1, 4096)
    return bytes(data[:at] + data[at : at + size] * chance.randrange(2, 20) + data[at:])


def _only_noise(chance: random.Random, data: bytearray) -> bytes:
    return bytes(data[:16]) + chance.randbytes(chance.randrange(20_000))


MUTATIONS: tuple[Mutation, ...] = (
    *(_cut, _behead, _flip, _spoil_head, _overwrite, _repeat, _only_noise),
)


def spoiled_file(seed: int, files: list[bytes]) -> bytes:
    """One of the files with one or two things broken."""
    chance = random.Random(seed)
    data = chance.choice(files)
    for _ in range(chance.randrange(1, 3)):
        if len(data) > 300:
            data = chance.choice(MUTATIONS)(chance, bytearray(data))
    return data


def spoiled_form(seed: int, file: bytes) -> tuple[bytes, str]:
    """A multipart body with something broken in its frame, and its content type."""
    chance = random.Random(seed)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    task = b'\r\n--x\r\nContent-Disposition: form-data; name="task"\r\n\r\ntranscribe'
    body = bytearray(head + file + task + b"\r\n--x--\r\n")
    frames = (len(head), len(body))
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(frames[0]) if chance.random() < 0.7 else chance.randrange(len(body))
        body[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
    kinds = ["multipart/form-data; boundary=x"] * 6
    kinds += ["multipart/form-data", "multipart/form-data; boundary=", "application/json", "text/x"]
    return bytes(body), chance.choice(kinds)


# --- conversations

_CONFIGS: dict[str, dict[str, object]] = {
    "/stream": {"model_size": "base", "language": "en", "sample_rate": 16000, "vad": False},
    "/v1/realtime": {
        "type": "session.update",
        "session": {
            "type": "transcription",
            "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}}},
        },
    },
    "/v1/listen": {"type": "KeepAlive"},
}
_COMMANDS = {
    "/stream": ["finalize", "keepalive", "stop"],
    "/v1/realtime": [
        *("input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"),
        *("session.update", "transcription_session.update", "response.create"),
    ],
    "/v1/listen": ["KeepAlive", "Finalize", "CloseStream"],
}
PATHS = tuple(_CONFIGS)
QUERIES = ("", "?encoding=linear16&sample_rate=16000", "?model=nothing", "?sample_rate=x&a=%00%ff")


def strange_value(chance: random.Random, depth: int = 0) -> object:
    """Anything JSON can hold, and what Python's writer makes of what it cannot."""
    plain: list[object] = [None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x"]
    plain += ["\0", "\ud800", "ключ" * 50, "A" * 5000, "AAAA", "=", -0.0, 2**63, [], {}]
    if depth < 3 and chance.random() < 0.3:
        values = [strange_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        return values if chance.random() < 0.5 else {str(i): v for i, v in enumerate(values)}
    return chance.choice(plain)


def spoiled_message(chance: random.Random, path: str) -> str | bytes:
    """One message that is mostly wrong for a socket."""
    config = dict(_CONFIGS[path])
    match chance.randrange(10):
        case 0:
            return chance.randbytes(chance.randrange(4000))
        case 1:
            return chance.choice(("", "{", "null", "[]", '"x"', "1", "NaN", '{"a":' * 5000))
        case 2:
            return json.dumps(strange_value(chance))
        case 3:
            config[chance.choice(list(config))] = strange_value(chance)
            return json.dumps(config)
        case 4:
            config[chance.choice(("resume", "x", "event_id", "container"))] = strange_value(chance)
            return json.dumps(config)
        case 5:
            return json.dumps({"resume": strange_value(chance)})
        case 6:
            return level(7, 0.2)[: chance.randrange(6400)]
        case 7:
            text = json.dumps(config)
            return text[: chance.randrange(len(text))]
        case _:
            command = {"type": chance.choice(_COMMANDS[path])}
            if chance.random() < 0.6:
                name = chance.choice(("audio", "session", "channel", "event_id", "type", "x"))
                command[name] = strange_value(chance)  # type: ignore[assignment]
            return json.dumps(command)


def spoiled_conversation(seed: int) -> tuple[str, list[str | bytes]]:
    """An address and what is sent to it."""
    chance = random.Random(seed)
    path = chance.choice(PATHS)
    messages = [spoiled_message(chance, path) for _ in range(chance.randrange(1, 8))]
    if chance.random() < 0.5:
        messages.insert(0, json.dumps(_CONFIGS[path]))
    query = QUERIES[1] if path == "/v1/listen" else ""
    return path + (chance.choice(QUERIES) if chance.random() < 0.2 else query), messages
