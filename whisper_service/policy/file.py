"""A file's plan: which windows to decode next, and their hypotheses as one list of segments.

Owns the order of things and the bound on memory: at most `max_in_flight` windows wait and as many
are out. It refuses to know what decodes, how long that takes and where the audio comes from.

    while not plan.is_done:
        push audio while `wants_audio`, then `end_of_audio`;
        send every `next_job` until it is None; give each answer to `receive_hypothesis`;
        take `segments`

A job that failed may be sent again as it is; the plan waits for its answer.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from whisper_service.policy import energy
from whisper_service.policy.invention import Kept, without_inventions
from whisper_service.policy.windows import Window, WindowCutter
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
    Word,
)

_MAX_TRIES = 4
"""Jobs for one window: 30 s in four pieces is already speech denser than any token limit."""
_UNCOVERED = SAMPLE_RATE
"""1 s of loud audio after the last segment holds a word or two; less is breath and reverb."""
_TOKEN_LIMIT = 224
"""Tokens Whisper gives at most, half its text context; a window that reaches it was cut off."""


@dataclass(slots=True, eq=False)
class _Progress:
    """One window on its way to segments."""

    window: Window
    start: int
    """Position from which its audio is still to be decoded."""
    segments: list[Segment] = field(default_factory=list)
    n_tries: int = 0
    is_finished: bool = False


class FilePlan:
    """See the module. Segments come in order, with ids from 0 and seconds from the file's start."""

    def __init__(self, options: DecodeOptions, *, max_in_flight: int) -> None:
        self._options = options
        self._max_in_flight = max_in_flight
        self._cutter = WindowCutter()
        self._has_ended = False
        self._windows: deque[_Progress] = deque()
        """Not yet given out as segments, in order."""
        self._waiting: deque[_Progress] = deque()
        self._in_flight: dict[int, tuple[DecodeJob, _Progress]] = {}
        """By `id` of the job's audio, which the entry keeps alive."""
        self._segments: list[Segment] = []
        self._n_segments = 0
        self._last_end = 0.0
        self._position = 0
        self.language = options.language
        self.language_probability = 1.0 if options.language else 0.0
        self._is_language_known = options.language is not None

    @property
    def wants_audio(self) -> bool:
        """Whether there is room for more audio now.

        Windows that are done but wait for an earlier one count too, or one slow window would let
        the whole file pile up behind it.
        """
        return not self._has_ended and len(self._windows) < 2 * self._max_in_flight

    @property
    def is_done(self) -> bool:
        """All audio has become segments."""
        return self._has_ended and not self._windows

    @property
    def duration(self) -> float:
        """Seconds of audio received."""
        return self._cutter.received / SAMPLE_RATE

    @property
    def position(self) -> float:
        """Seconds of audio whose segments are out."""
        return (self._cutter.received if self.is_done else self._position) / SAMPLE_RATE

    def receive_audio(self, samples: Audio) -> None:
        """Take the next samples, of any number; call while `wants_audio`."""
        for at in range(0, len(samples), WINDOW_SAMPLES):
            self._cutter.push(samples[at : at + WINDOW_SAMPLES])
            self._take_windows()

    def end_of_audio(self) -> None:
        """Say that no more audio comes."""
        self._has_ended = True
        self._cutter.end()
        self._take_windows()

    def next_job(self) -> DecodeJob | None:
        """Return a job to send now, or None; call again after each hypothesis and each push."""
        room = self._max_in_flight if self._is_language_known else 1
        if not self._waiting or len(self._in_flight) >= room:
            return None
        progress = self._waiting.popleft()
        progress.n_tries += 1
        audio = progress.window.audio[progress.start - progress.window.start :]
        language = self.language if self._is_language_known else None
        job = DecodeJob(audio, replace(self._options, language=language))
        self._in_flight[id(job.audio)] = (job, progress)
        return job

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the answer to a job of this plan; raises KeyError for any other."""
        _, progress = self._in_flight.pop(id(job.audio))
        self._learn_language(hypothesis)
        kept, resume_at = self._judge(progress, job, hypothesis)
        progress.segments += kept
        if resume_at is None:
            progress.is_finished = True
            self._release()
        else:
            progress.start = resume_at
            self._waiting.appendleft(progress)

    def segments(self) -> list[Segment]:
        """Return the segments finished since the last call."""
        finished, self._segments = self._segments, []
        return finished

    def _learn_language(self, hypothesis: Hypothesis) -> None:
        """Keep the language of the first window with text; before it, the best guess so far."""
        if not self._is_language_known:
            self.language = hypothesis.language
            self.language_probability = hypothesis.language_probability
            self._is_language_known = bool(hypothesis.segments)

    def _take_windows(self) -> None:
        while (window := self._cutter.cut()) is not None:
            progress = _Progress(window, window.start)
            self._windows.append(progress)
            if energy.is_silent(window.audio):
                progress.is_finished = True
            else:
                self._waiting.append(progress)
        self._release()

    def _judge(
        self, progress: _Progress, job: DecodeJob, hypothesis: Hypothesis
    ) -> tuple[list[Segment], int | None]:
        """Return what to keep and, where the decode broke off early, the position to go on at."""
        offset, end = progress.start / SAMPLE_RATE, progress.window.end / SAMPLE_RATE
        segments = [_shift(segment, offset, end) for segment in hypothesis.segments]
        if not segments or progress.n_tries >= _MAX_TRIES:
            return segments, None
        kept = self._without_inventions(progress, segments)
        if kept.resume_at is not None:
            at = round(kept.resume_at * SAMPLE_RATE)
            return list(kept.segments), at if at < progress.window.end else None
        was_cut_off = self._was_cut_off(hypothesis.segments)
        if was_cut_off:
            before, broken = hypothesis.segments[-2:]
            heard = round((before.end + broken.start) / 2 * SAMPLE_RATE)
        else:
            heard = round(hypothesis.segments[-1].end * SAMPLE_RATE)
        is_complete = not was_cut_off and not _holds_speech(job.audio, heard)
        if is_complete or heard < _UNCOVERED:
            return segments, None
        return segments[:-1] if was_cut_off else segments, progress.start + heard

    def _without_inventions(self, progress: _Progress, segments: list[Segment]) -> Kept:
        """Where windows are decoded side by side, speech before a window is not known yet: one
        begins with silence only as far as it holds some itself."""
        threshold = self._options.hallucination_silence_threshold
        start, end = progress.start / SAMPLE_RATE, progress.window.end / SAMPLE_RATE
        if threshold is None:
            return Kept(tuple(segments), None)
        last = progress.segments[-1].end if progress.segments else start
        return without_inventions(
            segments, threshold, start=start, end=end, last_speech=last, content_end=end
        )

    def _was_cut_off(self, segments: Sequence[Segment]) -> bool:
        """Tell a decode that ended at the token limit; two timestamps a segment count, too."""
        n_tokens = sum(len(segment.tokens) + 2 for segment in segments)
        return self._options.max_tokens is None and len(segments) > 1 and n_tokens >= _TOKEN_LIMIT

    def _release(self) -> None:
        """Give out the segments of all windows before the first unfinished one."""
        while self._windows and self._windows[0].is_finished:
            progress = self._windows.popleft()
            for segment in progress.segments:
                self._segments.append(self._in_order(segment))
            self._position = progress.window.end

    def _in_order(self, segment: Segment) -> Segment:
        start = max(segment.start, self._last_end)
        self._last_end = max(segment.end, start)
        words = tuple(
            replace(word, start=max(word.start, start), end=max(word.end, start))
            for word in segment.words
        )
        numbered = replace(
            segment, id=self._n_segments, start=start, end=self._last_end, words=words
        )
        self._n_segments += 1
        return numbered


def _holds_speech(audio: Audio, start: int) -> bool:
    """Tell whether more than a second of what follows `start` is as loud as speech before it."""
    loud = energy.speech_like(audio)
    return int(loud[start // energy.HOP :].sum()) * energy.HOP > _UNCOVERED


def _shift(segment: Segment, offset: float, end: float) -> Segment:
    """Move a segment from its job's clock to the file's and clip it to `end`."""
    words = tuple(
        Word(w.text, min(w.start + offset, end), min(w.end + offset, end), w.probability)
        for w in segment.words
    )
    start, stop = min(segment.start + offset, end), min(segment.end + offset, end)
    return replace(segment, start=start, end=max(start, stop), words=words)
