"""One utterance of a Wyoming client: its audio chunks in, its text out of a stream of the service.

The stream goes on over broken connections (see `client.stream`). What is done with the events is
the caller's.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from wyoming.asr import (
    Transcribe,
    Transcript,
    TranscriptChunk,
    TranscriptStart,
    TranscriptStop,
)
from wyoming.audio import AudioChunk, AudioChunkConverter
from wyoming.event import Event

from whisper_service.audio.pcm import PcmReader
from whisper_service.audio.resample import Resampler
from whisper_service.client.address import stream_address
from whisper_service.client.sources import to_s16le
from whisper_service.client.stream import LiveStream, Message
from whisper_service.client.tape import MAX_KEPT_SECONDS, Tape
from whisper_service.errors import AudioTooLong, InvalidMessage, InvalidParameter, TimedOut
from whisper_service.types import SAMPLE_RATE, Encoding, PcmFormat

CHUNK_DURATION = 15.0
"""Seconds after which speech without a pause becomes final. Nobody reads along, so a command is
decoded whole, where the service's own 5 s would cut a long one."""
MAX_PROMPT = 4096
"""Characters: the model reads its last 223 tokens, about 900 of them."""
_RATES = range(8_000, 192_001)
_WIDTHS = range(1, 5)
_CHANNELS = range(1, 9)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one utterance, in seconds."""

    max_audio: float = 300.0
    answer_timeout: float = 60.0
    """From the end of the audio to its transcript."""
    patience: float = 10.0
    """How long a broken connection to the service is tried again."""

    def __post_init__(self) -> None:
        if not 0 < self.max_audio <= MAX_KEPT_SECONDS:
            raise ValueError(
                f"--max-audio is {self.max_audio:g} s; allowed is more than 0, up to"
                f" {MAX_KEPT_SECONDS} s, which is what can be sent again after a break"
            )
        if not 0 < self.answer_timeout < math.inf or not 0 <= self.patience < math.inf:
            raise ValueError(
                f"--answer-timeout is {self.answer_timeout:g} s and --retry {self.patience:g} s;"
                " allowed is more than 0, and 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Service:
    """Where utterances are transcribed, and with what if the client does not say."""

    url: str
    key: str | None = None
    model: str | None = None
    language: str | None = None
    limits: Limits = field(default_factory=Limits)


class Utterance:
    """Make it, `run` it in a task, `append` chunks to it, then `end` it."""

    def __init__(self, service: Service, request: Transcribe, say: Callable[[Event], None]) -> None:
        """Raises `InvalidMessage` for a request that cannot be understood."""
        self._limits = service.limits
        self._say = say
        tape = Tape(SAMPLE_RATE)
        self._recorder = _Recorder(tape, service.limits.max_audio)
        self._stream = LiveStream(
            stream_address(service.url),
            _config(service, request),
            tape,
            patience=service.limits.patience,
            key=service.key,
        )
        self._deadline: asyncio.Timeout | None = None
        self._language: str | None = None
        self._text = ""
        self.has_ended = False
        """All of its audio is there."""

    def append(self, chunk: AudioChunk) -> None:
        """Take more audio. Raises `InvalidParameter`, `InvalidMessage` or `AudioTooLong`."""
        self._recorder.append(chunk)

    def end(self) -> None:
        """Take no more audio; what was said becomes final."""
        self._recorder.end()
        self.has_ended = True
        self._hurry()

    async def run(self) -> None:
        """Say its text piece by piece, then as a whole. Raises `ClientFailure` or `TimedOut`."""
        most = self._limits.max_audio + self._limits.answer_timeout
        try:
            async with asyncio.timeout(most) as self._deadline:
                self._hurry()
                await self._stream.run(self._hear)
        except TimeoutError:
            limit = self._limits.answer_timeout if self.has_ended else most
            raise TimedOut(f"No transcript came within {limit:g} s.", limit=limit) from None
        self._begin()
        self._say(Transcript(self._text, language=self._language).event())
        self._say(TranscriptStop().event())

    def _hurry(self) -> None:
        if self.has_ended and self._deadline is not None:
            now = asyncio.get_running_loop().time()
            self._deadline.reschedule(now + self._limits.answer_timeout)

    def _hear(self, message: Message) -> None:
        if message["type"] != "final":
            return
        text = message["text"] if self._text else message["text"].lstrip()
        if text:
            self._begin(message["language"])
            self._text += text
            self._say(TranscriptChunk(text).event())

    def _begin(self, language: str | None = None) -> None:
        """Only the first time."""
        if not self._text and not self._language:
            self._language = language
            self._say(TranscriptStart(language=language).event())


def _config(service: Service, request: Transcribe) -> Message:
    """The first message of the stream."""
    fields = {
        "model_size": request.name or service.model,
        "language": request.language or service.language,
        "prompt": _prompt(request),
        "sample_rate": SAMPLE_RATE,
        "chunk_duration": CHUNK_DURATION,
        "partial_interval": 0,
    }
    return {name: value for name, value in fields.items() if value}


def _prompt(request: Transcribe) -> str:
    """Words that are likely. The model hears the end of a prompt, so names, which matter more, come
    last."""
    words: list[str] = []
    for key in ("transcript_terms", "transcript_names"):
        given = getattr(request, key) or []
        if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
            raise InvalidMessage(f"`{key}` of `transcribe` has to be a list of strings.", param=key)
        words += given
    return ", ".join(words)[-MAX_PROMPT:]


class _Recorder:
    """Writes chunks of any format, which may change, to a tape of 16 kHz mono s16le."""

    def __init__(self, tape: Tape, max_seconds: float) -> None:
        self._tape = tape
        self._max_seconds = max_seconds
        self._format: PcmFormat | None = None
        self._to_16_bits = AudioChunkConverter(width=2)

    def append(self, chunk: AudioChunk) -> None:
        _check_format(chunk)
        form = PcmFormat(Encoding.PCM_S16LE, chunk.rate, chunk.channels)
        if form != self._format:
            self._flush()
            self._format = form
            self._pcm, self._resampler = PcmReader(form), Resampler(chunk.rate)
        samples = self._pcm.read(self._to_16_bits.convert(chunk).audio)
        self._tape.append(to_s16le(self._resampler.push(samples)))
        if self._tape.end > self._tape.position_of(self._max_seconds):
            raise AudioTooLong(
                f"The audio is longer than {self._max_seconds:g} s; end it with `audio-stop`"
                " before, or raise --max-audio.",
                max_duration=self._max_seconds,
            )

    def end(self) -> None:
        self._flush()
        self._tape.stop()

    def _flush(self) -> None:
        if self._format is not None:
            self._tape.append(to_s16le(self._resampler.flush()))


def _check_format(chunk: AudioChunk) -> None:
    for name, allowed in (("rate", _RATES), ("width", _WIDTHS), ("channels", _CHANNELS)):
        got = getattr(chunk, name)
        if type(got) is not int or got not in allowed:
            span = f"{allowed[0]} to {allowed[-1]}"
            raise InvalidParameter(
                f"`{name}` of the audio is {str(got)[:100]!r}; allowed is {span}.",
                param=name,
                got=str(got)[:100],
                allowed=span,
            )
    if len(chunk.audio) % chunk.width:
        raise InvalidMessage(
            f"A chunk of {len(chunk.audio)} bytes holds no whole number of samples of"
            f" {chunk.width} bytes."
        )
