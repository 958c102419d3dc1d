"""Nothing that is sent makes a 500, and the next good request is answered as if nothing had been.

The number of cases is small here; MALFORMED=2000 in the environment tries more, and holds the
process's memory to what it was after the first quarter.
"""

import ctypes
import gc
import logging
import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.api.fakes import connect, level, wav
from tests.api.handshakes import converse
from tests.api.malformed import spoiled_conversation, spoiled_file, spoiled_form
from tests.audio.make import run_ffmpeg

N = os.environ.get("MALFORMED")
N_FILES, N_FORMS, N_CONVERSATIONS = (int(N),) * 3 if N else (40, 20, 100)
SAMPLE = Path(__file__).parents[2] / "whisper_service" / "assets" / "sample.wav"
KINDS = {
    "wav": (),
    "mp3": (),
    "flac": (),
    "ogg": ("-c:a", "libopus"),
    "webm": ("-c:a", "libopus"),
    "m4a": (),
    "mp4": (),
    "ts": ("-c:a", "aac"),
    "avi": ("-c:a", "mp3"),
}
ROOM = 16 * 2**20
"""Bytes. A leak of one upload of 60 kB, or of one stream's buffers, in ten cases would be more."""
CODES = {1000, 1003, 1007, 1008, 1009, 1013}
"""Closes that blame the client, or nobody; 1011 would be a bug."""


@pytest.fixture
def flat_memory(decoder):
    """A block with what to call after each of `n` cases; says what the later ones cost."""

    @contextmanager
    def watch(n):
        n_done, early = 0, 0

        def note():
            nonlocal n_done, early
            decoder.jobs.clear()  # the fake one keeps them
            n_done += 1
            early = resident() if n_done == n // 4 else early

        yield note
        late = resident()
        print(f"{n} cases: {early >> 20} MiB after a quarter, {late >> 20} MiB at the end")
        if N:  # in a few cases caches are still being filled
            assert late - early < ROOM

    return watch


def resident():
    """Bytes of this process in memory, without what malloc keeps for the next time: that levels off
    after some hundred cases, at more than a leak would be."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bundled recording in many containers."""
    folder = tmp_path_factory.mktemp("files")
    made = []
    for kind, options in KINDS.items():
        path = folder / f"a.{kind}"
        run_ffmpeg("-t", "2", "-i", SAMPLE, *options, path)
        made.append(path.read_bytes())
    return made


@pytest.fixture
def good(client):
    """Asserts that a good request is answered right."""

    def check():
        response = client.post("/transcribe", files={"file": ("a.wav", wav(level(7)))})
        assert response.json()["text"].strip() == "level 7"

    return check


def is_clean(response):
    return response.status_code == 200 or 400 <= response.status_code < 500


def test_spoiled_files(client, files, good, flat_memory):
    statuses = Counter()
    with flat_memory(N_FILES) as note:
        for seed in range(N_FILES):
            data = spoiled_file(seed, files)
            response = client.post("/transcribe", files={"file": ("a.wav", data)})
            assert is_clean(response), (seed, response.text)
            if response.status_code != 200:
                assert response.json()["error"]["message"], seed
            statuses[response.status_code] += 1
            note()
    print(f"files: {dict(statuses)}")
    good()


def test_spoiled_forms(client, good, flat_memory):
    statuses = Counter()
    with flat_memory(N_FORMS) as note:
        for seed in range(N_FORMS):
            body, kind = spoiled_form(seed, wav(level(7, 0.2)))
            response = client.post("/transcribe", content=body, headers={"Content-Type": kind})
            assert is_clean(response), (seed, response.text)
            statuses[response.status_code] += 1
            note()
    print(f"forms: {dict(statuses)}")
    good()


async def test_spoiled_conversations(app, caplog, flat_memory):
    caplog.set_level(logging.ERROR)
    ends = Counter()
    with flat_memory(N_CONVERSATIONS) as note:
        for seed in range(N_CONVERSATIONS):
            path, messages = spoiled_conversation(seed)
            ended = await converse(app, path, messages)
            if ended["type"] == "websocket.close":
                assert ended.get("code", 1000) in CODES, (seed, ended)
            elif ended["type"] == "websocket.http.response.start":
                assert 400 <= ended["status"] < 500, (seed, ended)
            assert caplog.records == [], seed
            ends[ended.get("code") or ended.get("status") or ended["type"]] += 1
            note()
    print(f"conversations: {dict(ends)}")
    async with connect(app, {"vad": False, "sample_rate": 16000}) as socket:
        socket.send(level(7))
        socket.send({"type": "stop"})
        assert (await socket.until("done"))["text"].strip() == "level 7"


async def test_half_a_character_is_no_resume_token(app):
    async with connect(app, '{"resume": "\\ud800"}') as socket:
        error, close = await socket.rest()
    assert (error["code"], close["code"]) == ("invalid_resume_token", 1008)
