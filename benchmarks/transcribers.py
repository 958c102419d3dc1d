"""What transcribes the accuracy benchmark's recordings: the running service, or a peer."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx
import torch

from benchmarks import peers
from benchmarks.corpus import Recording
from benchmarks.live_client import Run, stream
from benchmarks.local_service import Service
from benchmarks.worker import Worker
from whisper_service.audio.ffmpeg import find_ffmpeg
from whisper_service.engine.checkpoints import read_checkpoint
from whisper_service.models.store import ModelStore
from whisper_service.models.weight_files import CTRANSLATE2
from whisper_service.types import SAMPLE_RATE

PEERS = ("openai-whisper", "faster-whisper")
FRAME_SECONDS = 0.1
_STAGGER = 0.37
"""Seconds between the beginnings of streams, so that they do not breathe in step."""


class Unfit(ValueError):
    """Why this cannot be measured here; for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one system made of some files. A file that failed has an empty text."""

    seconds: float
    texts: list[str]
    n_failed: int = 0


class System(Protocol):
    """Something that transcribes files."""

    name: str
    arithmetic: str

    def transcribe(self, recordings: Sequence[Recording]) -> Turn: ...


class Ours:
    """The running service, asked over its public endpoints."""

    name = "ours"

    def __init__(
        self,
        model: str,
        arithmetic: str,
        service: Service,
        *,
        n_parallel: int,
        detect: bool,
    ) -> None:
        self.model = model
        self.arithmetic = arithmetic
        self._service = service
        self._n_parallel = n_parallel
        self._detect = detect

    def transcribe(self, recordings: Sequence[Recording]) -> Turn:
        """Upload them, some at once."""
        with (
            httpx.Client(base_url=self._service.http, timeout=3600) as client,
            ThreadPoolExecutor(self._n_parallel) as pool,
        ):
            began = time.perf_counter()
            texts = list(pool.map(partial(self._post, client), recordings))
            seconds = time.perf_counter() - began
        n_failed = sum(text is None for text in texts)
        return Turn(seconds, [text or "" for text in texts], n_failed)

    async def stream(self, recordings: Sequence[Recording], n_streams: int) -> list[Run]:
        """Play each in real time, `n_streams` at once."""
        gate, clock = asyncio.Semaphore(n_streams), asyncio.get_running_loop().time

        async def one(number: int, recording: Recording) -> Run:
            pcm = await asyncio.to_thread(_pcm, recording.path)
            async with gate:
                start = clock() + _STAGGER * (number % n_streams)
                config = {"model_size": self.model, **self._language(recording)}
                url = self._service.ws
                run = await stream(url, pcm, config, start, frame_seconds=FRAME_SECONDS)
            report(f"{recording.set}/{recording.path.name} streamed")
            return run

        return await asyncio.gather(*(one(i, each) for i, each in enumerate(recordings)))

    def _post(self, client: httpx.Client, recording: Recording) -> str | None:
        with recording.path.open("rb") as file:
            answer = client.post(
                "/transcribe",
                files={"file": (recording.path.name, file)},
                data={"model_size": self.model, **self._language(recording)},
            )
        if answer.status_code != 200:
            report(f"{recording.path}: {answer.status_code} {answer.text[:300]}")
            return None
        return str(answer.json()["text"])

    def _language(self, recording: Recording) -> dict[str, str]:
        return {} if self._detect else {"language": recording.language}


class Peer:
    """Another engine, in a process of its own."""

    def __init__(self, name: str, arithmetic: str, worker: Worker, *, detect: bool) -> None:
        self.name = name
        self.arithmetic = arithmetic
        self._worker = worker
        self._detect = detect

    def transcribe(self, recordings: Sequence[Recording]) -> Turn:
        """One after the other."""
        seconds, texts = 0.0, []
        for recording in recordings:
            language = None if self._detect else recording.language
            taken, text = self._worker.call(0, recording.path, language)
            seconds += taken
            texts.append(text)
        return Turn(seconds, texts)


@contextmanager
def running_peer(
    name: str, weights: Path, cache: Path, *, n_threads: int, detect: bool
) -> Iterator[Peer]:
    """A peer with these weights loaded; `cache` keeps a copy in a format that it reads."""
    if name == "openai-whisper":
        arithmetic = "float32"
        make = partial(peers.openai_whisper_files, _as_file(weights, cache))
    else:
        arithmetic = "int8"
        folder = _as_folder(weights, cache)
        make = partial(peers.faster_whisper_files, folder, arithmetic, n_threads)
    with Worker(n_threads) as worker:
        worker.make(make)
        yield Peer(name, arithmetic, worker, detect=detect)


def weights_of(model: str, model_dir: Path) -> Path:
    """The file or folder that the service, too, takes a model from. Raises Unfit."""
    weights = ModelStore(model_dir).find(model)
    if weights is None:
        raise Unfit(
            f"there is no model {model!r} in {model_dir}; `python -m whisper_service.models`"
            " brings the official ones"
        )
    return weights.path


def _as_file(weights: Path, cache: Path) -> Path:
    """The same numbers as openai-whisper reads them."""
    if weights.is_file():
        return weights
    found = read_checkpoint(weights)
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / f"{weights.name}.pt"
    content = {"dims": asdict(found.dims), "model_state_dict": dict(found.tensors)}
    torch.save(content, file)
    return file


def _as_folder(weights: Path, cache: Path) -> Path:
    """The same numbers as faster-whisper reads them, with a tokenizer."""
    if all((weights / name).is_file() for name in (CTRANSLATE2, "tokenizer.json")):
        return weights
    from benchmarks.convert import converted  # needs CTranslate2

    file = _as_file(weights, cache)
    return converted(file, cache / f"{file.stem}.ct2")


def _pcm(path: Path) -> bytes:
    """16 kHz mono s16le."""
    shape = ["-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"]
    command = [find_ffmpeg(), "-v", "error", "-i", str(path), *shape]
    return subprocess.run(command, capture_output=True, check=True).stdout


def report(line: str) -> None:
    """Progress, for the person at the terminal."""
    print(line, file=sys.stderr, flush=True)
