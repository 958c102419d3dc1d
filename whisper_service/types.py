"""The vocabulary that every layer shares: audio, options, jobs, hypotheses, transcripts.

Plain frozen data, numpy at most. Positions in audio are ints (samples at 16 kHz from the start of
the stream) everywhere except in `Word`, `Segment` and `Transcript`, which hold seconds.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Whisper's only input rate, in Hz."""
WINDOW_SECONDS = 30
"""What one decode hears: the encoder's fixed 1,500 frames of 20 ms."""
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE
SILENT_PADDING = 5.0
"""Seconds of silence that a decode needs after speech, lest it loops: 2 s are too few, and more
only costs time."""

_SURE = 0.5
"""A language this probable is taken: faster-whisper's `language_detection_threshold`."""
_LIKELY_ODDS = 5.0
"""How much likelier speech is to be in the language of what was said before than in another."""

Audio = npt.NDArray[np.float32]
"""float32 [n_samples], mono, 16 kHz, in [-1, 1]."""

Task = Literal["transcribe", "translate"]
Timestamps = Literal["none", "segment", "word"]
Priority = Literal["final", "live", "file"]

TASKS: tuple[Task, ...] = ("transcribe", "translate")


class Encoding(StrEnum):
    """How the bytes of a raw PCM stream spell samples."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """A raw audio stream as a client sends it; channels are interleaved."""

    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: int = SAMPLE_RATE
    channels: int = 1


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What to do with a window; defaults are those of openai-whisper's `transcribe`."""

    task: Task = "transcribe"
    language: str | None = None
    """ISO 639-1 code; None detects it."""
    allowed_languages: tuple[str, ...] = ()
    """What a detection chooses from; empty is all."""
    likely_language: str | None = None
    """What the rest of the recording is in; taken where a detection is in doubt."""
    prompt: str | None = None
    """Vocabulary and style hint from the user; comes before `DecodeJob.previous_text`."""
    # sampling
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    """Tried in order until a decode passes the two thresholds below."""
    beam_size: int | None = None
    """Beams at temperature 0; None is greedy."""
    best_of: int | None = None
    """Samples at temperatures above 0, of which the likeliest is taken; None is one."""
    patience: float | None = None
    """Beam search ends with `patience * beam_size` candidates (arXiv:2204.05424); None is 1."""
    length_penalty: float | None = None
    """Google NMT's alpha (arXiv:1609.08144) to rank candidates by; None is the mean."""
    timestamps: Timestamps = "segment"
    # when a decode counts as failed, and a window as silent
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    hallucination_silence_threshold: float | None = None
    """Of files with word times: improbable text between silences longer than this, in seconds, is
    left out, and what is around it heard again."""
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class FileOptions:
    """What to do with a file."""

    decode: DecodeOptions = field(default_factory=DecodeOptions)
    vad_filter: bool = True
    """Leave out what a voice activity detector hears no speech in."""
    multilingual: bool = True
    """Where the language is to be detected: for every window, not for the whole file."""
    audio_track: int | None = None
    """Counts the file's audio tracks from 0; None takes the best that can be decoded."""


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """One live stream as the client asked for it. Durations in seconds."""

    model_size: str
    pcm: PcmFormat | None = field(default_factory=PcmFormat)
    """None is a container, which says itself what it holds."""
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    chunk_duration: float = 5.0
    """The most new speech that may wait before its text is final."""
    overlap: float = 0.5
    """The least of the audio that is final already, if there is as much, that is heard again with
    the next chunk."""
    use_context: bool = True
    """A chunk goes on where the last final text ended; else each is decoded alone."""
    partial_interval: float = 1.0
    """Between partials; 0 sends none."""
    endpoint_silence: float = 0.6
    """A pause this long finalises what was said before it."""
    vad: bool = True
    """Leave silence out of what is decoded."""
    vad_threshold: float = 0.5
    """How sure the detector has to be that it hears speech."""
    hold_punctuation: bool = False
    """A final's last mark comes with the next text, which decides it: finals are to be joined."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodeJob:
    """One window for the engine. Two jobs are never equal: an array has no single truth value."""

    audio: Audio
    """At most `WINDOW_SAMPLES`."""
    options: DecodeOptions = field(default_factory=DecodeOptions)
    previous_text: str = ""
    prefix: str = ""
    """What is already said in this window: the decode goes on from here, and leaves it out."""
    draft: str = ""
    """What it will probably say after the prefix. What of it is right is found in one pass instead
    of one a token; the answer does not depend on it."""
    padding: float | None = None
    """Seconds of silence after the audio that will do, where encoding less is less work; None fills
    30 s, which is what Whisper was trained on."""
    priority: Priority = "file"
    deadline: float | None = None
    """Seconds since the epoch; a job not begun by then is refused instead of decoded."""
    session_id: str = ""
    """Of the stream it is for, if any; log lines say it, nothing else looks at it."""
    trace_parent: str = ""
    """W3C traceparent of the span it is decoded for, if there is one."""


@dataclass(frozen=True, slots=True)
class Word:
    """`text` keeps Whisper's leading space, so that words join to the segment's text."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text between two timestamps. Times in seconds from the start of the audio."""

    id: int
    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    tokens: tuple[int, ...] = ()
    language: str = ""
    """ISO 639-1 code of the decode it is from."""
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 1.0
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The engine's answer to one job; times in its segments count from the start of the job."""

    language: str
    language_probability: float
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class LanguageDetection:
    """What language a window is in; `probabilities` sum to one over all the model's languages."""

    language: str
    probability: float
    probabilities: Mapping[str, float]

    def or_likely(self, language: str | None) -> "LanguageDetection":
        """The same, or `language` where it is nearly as probable as one that is not sure."""
        probability = self.probabilities.get(language or "", 0.0)
        if self.probability >= _SURE or probability * _LIKELY_ODDS < self.probability:
            return self
        return LanguageDetection(language or "", probability, self.probabilities)

    def among(self, allowed: Collection[str]) -> "LanguageDetection":
        """The same if only the `allowed` languages exist; unchanged if none of them is known."""
        chances = {code: p for code, p in self.probabilities.items() if code in allowed}
        total = sum(chances.values())
        if not total:
            return self
        best = max(chances, key=chances.__getitem__)
        chances = {code: p / total for code, p in chances.items()}
        return LanguageDetection(best, chances[best], chances)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole file's result."""

    language: str
    duration: float
    segments: tuple[Segment, ...]
    task: Task = "transcribe"
    language_probability: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All segments' text as one string, without outer spaces."""
        return "".join(segment.text for segment in self.segments).strip()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model the service can be asked for, and what it takes to run it."""

    name: str
    is_multilingual: bool
    n_parameters: int | None
    memory_bytes: int | None
    """Device memory it needs, float16 weights and caches included; None where not known."""
    has_weights: bool
    """The file is on disk: a request will not wait for a download."""
    is_loaded: bool
    """Resident in at least one replica that answered."""
    can_download: bool
    path: str
    """Where the weights are, or where they have to be put."""
    stands_in_for: str | None = None
    """The default model that could be had from no source, where this one answers in its place."""
    reason: str | None = None
    """Why it could not be had."""

    @property
    def is_usable(self) -> bool:
        """Its weights are here, or can come."""
        return self.has_weights or self.can_download


@dataclass(frozen=True, slots=True)
class DecoderStats:
    """What one WhisperASR replica is doing."""

    replica: str
    models: tuple[str, ...]
    """Loaded now."""
    windows_now: int
    """Taken and not answered: being decoded, or waiting for their turn."""
    windows_done: int
    """Since it started."""
    window_seconds: tuple[float, ...]
    """From when it took a window to its hypothesis, the latest ones."""
    max_batch_size: int
