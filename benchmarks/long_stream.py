"""An hour of speech through one stream: are all words there, and does memory stay bounded?

    python -m benchmarks.long_stream --minutes 60

sends spoken words with pauses as fast as finals come back, so that the hour takes minutes, and
compares the words with what was said, and the memory of both deployments after one minute of audio
and at the end. A stream may keep its transcript, and nothing else that grows.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import websockets

from benchmarks.grow import SIZES, grown_checkpoint, model_folder
from benchmarks.local_service import Service, local_service
from benchmarks.speech_track import BYTES_PER_SECOND, Track, bare_words, make_track, n_errors

AHEAD = 30.0
"""Seconds sent beyond the last final, below what a stream of the service may have waiting."""
FRAME = BYTES_PER_SECOND // 5
WARM_UP = 60.0
"""Seconds of audio after which memory is looked at first."""


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = model_folder()
    if (size := options.model.removeprefix("demo-")) in SIZES:
        grown_checkpoint(size, folder)
    settings = {"WHISPER_DEFAULT_MODEL": options.model, "WHISPER_MODEL_DIR": str(folder)}
    track = make_track(60 * options.minutes)
    with local_service(settings, options.out / "service.log") as service:
        found = asyncio.run(_measure(service, track))
    found = {"model": options.model, **found}
    (options.out / "long_stream.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


async def _measure(service: Service, track: Track) -> dict[str, Any]:
    stream = _Stream(track)
    memory: dict[str, dict[str, float]] = {}

    def look(when: str) -> None:
        memory[when] = {name: _resident_mib(service, name) for name in _DEPLOYMENTS}

    async with websockets.connect(f"{service.ws}/stream", compression=None) as socket:
        await socket.send(json.dumps({"language": "en"}))
        sender = asyncio.create_task(stream.send(socket, lambda: look("after one minute")))
        await stream.receive(socket)
        await sender
        look("at the end")
    heard = bare_words(" ".join(stream.texts))
    truth = list(track.words)
    return {
        "audio_seconds": track.seconds,
        "words_said": len(truth),
        "words_heard": len(heard),
        "word_errors": n_errors(truth, heard),
        "finals": len(stream.texts),
        "characters": sum(map(len, stream.texts)),
        "memory_mib": memory,
    }


_DEPLOYMENTS = ("WhisperService", "WhisperASR")


class _Stream:
    """One stream, sent no further than `AHEAD` of its last final."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._final_at = 0.0
        self._moved = asyncio.Event()
        self.texts: list[str] = []

    async def send(self, socket: websockets.ClientConnection, after_warm_up: Any) -> None:
        pcm, is_warm = self._track.pcm, False
        for start in range(0, len(pcm), FRAME):
            at = start / BYTES_PER_SECOND
            while at > self._final_at + AHEAD:
                self._moved.clear()
                async with asyncio.timeout(120):
                    await self._moved.wait()
            if at >= WARM_UP and not is_warm:
                is_warm = True
                after_warm_up()
            await socket.send(pcm[start : start + FRAME])
        await socket.send(json.dumps({"type": "stop"}))

    async def receive(self, socket: websockets.ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "final":
                self.texts.append(message["text"])
                self._final_at = max(self._final_at, message["end"])
                if len(self.texts) % 200 == 0:
                    print(f"{self._final_at:.0f} s", file=sys.stderr)
                self._moved.set()
            elif message["type"] in ("warning", "error"):
                print(message, file=sys.stderr)


def _resident_mib(service: Service, deployment: str) -> float:
    pid = service.replica_pid(deployment)
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60, help="of audio (%(default)g)")
    parser.add_argument("--model", default="demo", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(".cache/long"), help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
