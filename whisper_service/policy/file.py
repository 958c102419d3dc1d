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

from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy.hallucination import is_invented, without_hallucinations
from whisper_service.policy.segment_times import (
    has_pauses,
    in_order,
    split_at_pauses,
    to_file_times,
)
from whisper_service.policy.silence_hallucination import Kept, without_silence_hallucinations
from whisper_service.policy.windows import Window, WindowCutter
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
)

_MAX_TRIES = 4
"""Jobs for one window: 30 s in four pieces is already speech denser than any token limit."""
_UNCOVERED = SAMPLE_RATE
"""1 s of speech after the last segment holds a word or two; less is breath and reverb."""
_SHORTEST_RETRY = 5 * SAMPLE_RATE
"""What is heard again begins with whole segments before it, if it is shorter: of a word or two
alone Whisper makes anything."""
_TOKEN_LIMIT = 224
"""Tokens Whisper gives at most, half its text context; a window that reaches it was cut off."""
_MAX_PAUSE = 5 * SAMPLE_RATE
"""Speech after a longer silence has a window of its own."""
_MAX_PAUSE_BETWEEN_LANGUAGES = 3 * SAMPLE_RATE // 2
"""The same where a window's language is found out: whoever takes over pauses."""


@dataclass(slots=True, eq=False)
class _Progress:
    """One window on its way to segments."""

    window: Window
    start: int = 0
    """Sample of its audio from which it is still to be decoded."""
    segments: list[Segment] = field(default_factory=list)
    n_tries: int = 0
    is_finished: bool = False


class FilePlan:
    """See the module. Segments come in order, with ids from 0 and seconds from the file's start."""

    def __init__(
        self,
        options: DecodeOptions,
        *,
        max_in_flight: int,
        detector: SpeechDetector | None,
        multilingual: bool = True,
    ) -> None:
        self._options = options
        self._max_in_flight = max_in_flight
        self._multilingual = multilingual
        max_pause = _MAX_PAUSE if options.language else _MAX_PAUSE_BETWEEN_LANGUAGES
        self._cutter = WindowCutter(detector, max_pause=max_pause)
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
        self.has_speech = False
        """Whether any was heard so far."""
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
        job = DecodeJob(progress.window.audio[progress.start :], self._job_options(progress.window))
        self._in_flight[id(job.audio)] = (job, progress)
        return job

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the answer to a job of this plan; raises KeyError for any other."""
        _, progress = self._in_flight.pop(id(job.audio))
        hypothesis = self._without_hallucinations(progress, hypothesis)
        self._learn_language(hypothesis)
        kept, resume_at = self._judge(progress, hypothesis)
        progress.segments += self._split(kept, progress.window)
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

    def _job_options(self, window: Window) -> DecodeOptions:
        options = self._options
        if options.timestamps == "segment" and has_pauses(window):
            options = replace(options, timestamps="word")  # to know where to split segments
        if not self._is_language_known or options.language is not None:
            return options
        if self._multilingual:
            return replace(options, likely_language=self.language)
        return replace(options, language=self.language)

    def _split(self, segments: Sequence[Segment], window: Window) -> list[Segment]:
        """Split segments at pauses; words that were asked for to this end only, leave."""
        parts = [part for segment in segments for part in split_at_pauses(segment, window)]
        if self._options.timestamps == "word":
            return parts
        return [replace(part, words=()) for part in parts]

    def _learn_language(self, hypothesis: Hypothesis) -> None:
        """Keep the language of the first window with text; before it, the best guess so far."""
        if not self._is_language_known:
            self.language = hypothesis.language
            self.language_probability = hypothesis.language_probability
            self._is_language_known = bool(hypothesis.segments)

    def _take_windows(self) -> None:
        while (window := self._cutter.cut()) is not None:
            progress = _Progress(window)
            self.has_speech = True
            self._windows.append(progress)
            self._waiting.append(progress)
        self._release()

    def _judge(
        self, progress: _Progress, hypothesis: Hypothesis
    ) -> tuple[list[Segment], int | None]:
        """Return what to keep and, where the decode broke off early, the sample of the window to
        go on at."""
        window = progress.window
        segments = [
            replace(to_file_times(segment, window, progress.start), language=hypothesis.language)
            for segment in hypothesis.segments
        ]
        if not segments or progress.n_tries >= _MAX_TRIES:
            return segments, None
        kept = self._without_silence_hallucinations(progress, segments)
        if kept.resume_at is not None:
            at = window.offset(round(kept.resume_at * SAMPLE_RATE))
            return list(kept.segments), at if at < len(window.audio) else None
        was_cut_off = self._was_cut_off(hypothesis.segments)
        if was_cut_off:
            before, broken = hypothesis.segments[-2:]
            heard = round((before.end + broken.start) / 2 * SAMPLE_RATE)
        else:
            heard = round(hypothesis.segments[-1].end * SAMPLE_RATE)
        heard += progress.start
        is_complete = not was_cut_off and _speech_after(window, heard) <= _UNCOVERED
        if is_complete or heard < progress.start + _UNCOVERED:
            return segments, None
        return self._resume(progress, segments[:-1] if was_cut_off else segments, heard)

    def _resume(
        self, progress: _Progress, segments: list[Segment], heard: int
    ) -> tuple[list[Segment], int]:
        """Go on at `heard`, or some segments earlier if little is left from there."""
        window = progress.window
        for n_kept in range(len(segments), 0, -1):
            if len(window.audio) - heard >= _SHORTEST_RETRY:
                return segments[:n_kept], heard
            start = window.offset(round(segments[n_kept - 1].start * SAMPLE_RATE))
            if start < progress.start + _UNCOVERED:
                return segments[:n_kept], heard
            heard = start
        return [], heard

    def _without_hallucinations(self, progress: _Progress, hypothesis: Hypothesis) -> Hypothesis:
        filtered = without_hallucinations(hypothesis, self._options).hypothesis
        speech_seconds = _speech_after(progress.window, progress.start) / SAMPLE_RATE
        if is_invented(filtered, self._options, speech_seconds):
            return replace(filtered, segments=())
        return filtered

    def _without_silence_hallucinations(self, progress: _Progress, segments: list[Segment]) -> Kept:
        """Where windows are decoded side by side, speech before a window is not known yet: one
        begins with silence only as far as it holds some itself."""
        threshold = self._options.hallucination_silence_threshold
        start = progress.window.position(progress.start) / SAMPLE_RATE
        end = progress.window.end / SAMPLE_RATE
        if threshold is None:
            return Kept(tuple(segments), None)
        last = progress.segments[-1].end if progress.segments else start
        return without_silence_hallucinations(
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
            end = progress.window.end / SAMPLE_RATE
            for segment in in_order(progress.segments, self._last_end, end):
                self._segments.append(replace(segment, id=self._n_segments))
                self._n_segments += 1
                self._last_end = segment.end
            self._position = progress.window.end


def _speech_after(window: Window, at: int) -> int:
    """Samples of speech in the window after sample `at` of its audio."""
    position = window.position(at)
    return sum(max(0, span.end - max(span.start, position)) for span in window.speech)
