"""A world in which words can be read off the samples, so that any decoder call can be answered.

A word is a square wave whose height is its number; its first and last sample are marked. A decoder
that gets only part of it cannot know the word and answers garbled text, as Whisper does. A detector
hears any sound, some frames late if asked to. No sleep, no clock, no model.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from zlib import crc32

import numpy as np

from whisper_service.policy.stream_events import Done, Event, Final, Partial, StreamState
from whisper_service.policy.stream_plan import StreamPlan
from whisper_service.types import (
    SAMPLE_RATE,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
    StreamConfig,
    Word,
)

LOWEST, STEP, MARK = 0.3, 0.001, 0.45
"""100 words between 0.3 and 0.4: all about equally loud."""


@dataclass(frozen=True)
class Spoken:
    """A word of the script and the silence after it, in seconds."""

    duration: float
    gap: float


def synthesise(script: Sequence[Spoken], *, lead: float = 0.5) -> Audio:
    """Return the audio of a script; word i says "w{i}"."""
    parts = [silence(lead)]
    for number, spoken in enumerate(script):
        n_samples = round(spoken.duration * SAMPLE_RATE)
        sign = np.where(np.arange(n_samples) % 20 < 10, 1.0, -1.0)
        word = sign * (LOWEST + STEP * number)
        word[0], word[-1] = MARK, -MARK
        parts += [word.astype(np.float32), silence(spoken.gap)]
    return np.concatenate(parts).astype(np.float32)


def silence(seconds: float) -> Audio:
    """Return digital silence."""
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def words_of(script: Sequence[Spoken]) -> list[str]:
    """Return what was said."""
    return [f"w{number}" for number in range(len(script))]


def frames(audio: Audio, cuts: Iterable[int]) -> Iterator[Audio]:
    """Cut audio into frames of the given lengths, over and over."""
    lengths, at = list(cuts), 0
    while at < len(audio):
        for length in lengths:
            yield audio[at : at + length]
            at += length


def read(audio: Audio, begin: float = 0.0) -> list[tuple[str, float, float]]:
    """Return text, start and end of every word in the samples; cut ones come out garbled."""
    heights = np.abs(audio)
    changes = np.flatnonzero(np.diff(np.round(heights, 4), prepend=-1.0, append=-1.0))
    found: dict[int, list[int]] = {}
    marks = np.flatnonzero(np.isclose(heights, MARK, atol=1e-4))
    for start, end in itertools.pairwise(changes):
        height = float(heights[start])
        if height > LOWEST - STEP / 2 and not np.isclose(height, MARK, atol=1e-4):
            number = round((height - LOWEST) / STEP)
            found.setdefault(number, [int(start), int(end)])[1] = int(end)
    words = []
    for number, (start, end) in sorted(found.items(), key=lambda item: item[1]):
        is_whole = start - 1 in marks and end in marks
        if not is_whole and end - start < 0.08 * SAMPLE_RATE:
            continue  # too little to be taken for a word
        text = f" w{number}" if is_whole else f" x{number}of{end - start}"
        words.append((text, begin + start / SAMPLE_RATE, begin + end / SAMPLE_RATE))
    return words


class FakeDetector:
    """Hears any sound, `lag` frames late."""

    frame_samples = 512

    def __init__(self, lag: int = 0) -> None:
        self._lag = lag
        self.reset()

    def reset(self) -> None:
        self._pending = np.zeros(0, np.float32)
        self._coming = [0.0] * self._lag

    def probabilities(self, samples: Audio) -> list[float]:
        samples = np.concatenate((self._pending, samples))
        n_frames = len(samples) // 512
        self._pending = samples[n_frames * 512 :]
        loud = np.abs(samples[: n_frames * 512].reshape(-1, 512)).max(axis=1) > 0.01
        self._coming += [float(is_loud) for is_loud in loud]
        out, self._coming = self._coming[:n_frames], self._coming[n_frames:]
        return out


def decode(job: DecodeJob, *, jitter: float = 0.0) -> Hypothesis:
    """Answer a job with what its samples say after its prefix; `jitter` makes word times wrong by
    up to that."""
    words = []
    for text, start, end in read(job.audio):
        if text.strip() in job.prefix.split():
            continue
        error = jitter * np.sin(crc32(text.encode()) + len(job.audio))
        start, end = max(0.0, start + error), min(len(job.audio) / SAMPLE_RATE, end + error)
        words.append(Word(text, start, max(start, end), 0.9))
    if not words:
        return Hypothesis("en", 0.9)
    text = "".join(word.text for word in words)
    timed = tuple(words) if job.options.timestamps == "word" else ()
    segment = Segment(0, words[0].start, words[-1].end, text, timed, avg_logprob=-0.2)
    return Hypothesis("en", 0.9, (segment,))


@dataclass
class Run:
    """A stream from its first sample to `Done`, with what was seen on the way."""

    plan: StreamPlan
    events: list[Event] = field(default_factory=list)
    jobs: list[DecodeJob] = field(default_factory=list)
    most_held: int = 0
    n_superseded: int = 0
    backlogs: list[float] = field(default_factory=list)

    @property
    def finals(self) -> list[Final]:
        return [event for event in self.events if isinstance(event, Final)]

    @property
    def partials(self) -> list[Partial]:
        return [event for event in self.events if isinstance(event, Partial)]

    @property
    def words(self) -> list[str]:
        return " ".join(final.segment.text for final in self.finals).split()

    def is_done(self) -> bool:
        return self.plan.is_done and isinstance(self.events[-1], Done)


def stream(
    audio: Audio,
    config: StreamConfig,
    *,
    cuts: Sequence[int] = (1600,),
    delay: int = 0,
    abandon_each: int = 0,
    lag: int = 0,
    jitter: float = 0.0,
    resume: StreamState | None = None,
    decoder: Callable[[DecodeJob], Hypothesis] | None = None,
) -> Run:
    """Run a plan over audio. A job is answered `delay` frames after it was asked for, unless it is
    superseded before; each `abandon_each`-th job is given up first."""
    answer = decoder or partial(decode, jitter=jitter)
    run = Run(StreamPlan(config, detector=FakeDetector(lag), resume=resume))
    pending: DecodeJob | None = None
    age = 0
    for frame in frames(audio, cuts):
        run.plan.receive_audio(frame)
        age += 1
        if pending is not None and run.plan.is_superseded:
            run.plan.abandon(pending)
            pending, run.n_superseded = None, run.n_superseded + 1
        while age >= delay or pending is None:
            if pending is not None:
                run.plan.receive_hypothesis(pending, answer(pending))
            pending, age = _ask(run, abandon_each), 0
            if pending is None:
                break
        run.events += run.plan.events()
        run.most_held = max(run.most_held, len(run.plan._segmenter.buffer))
        run.backlogs.append(run.plan.backlog)
    run.plan.stop()
    while pending is not None or (pending := _ask(run, abandon_each)) is not None:
        run.plan.receive_hypothesis(pending, answer(pending))
        pending = None
    run.events += run.plan.events()
    return run


def _ask(run: Run, abandon_each: int) -> DecodeJob | None:
    job = run.plan.next_job()
    if job is None:
        return None
    run.jobs.append(job)
    if abandon_each and len(run.jobs) % abandon_each == 0:
        run.plan.abandon(job)
        return run.plan.next_job()
    return job


def config(**changes: object) -> StreamConfig:
    """Return a stream's configuration; `word_times` and `language` are options of its decodes."""
    options = DecodeOptions(
        language=changes.pop("language", "en"),  # type: ignore[arg-type]
        timestamps="word" if changes.pop("word_times", False) else "segment",
        task=changes.pop("task", "transcribe"),  # type: ignore[arg-type]
    )
    return StreamConfig("demo", decode=options, **changes)  # type: ignore[arg-type]
