"""A file's plan: which windows to decode next, and their hypotheses as one list of segments.

Owns the order of segments and the limit on memory: at most `max_in_flight` windows are being
decoded and as many wait. Knows no engine, no clock and no source of the audio.

    while not plan.is_done:
        push audio while `wants_audio`, then `end_of_audio`;
        send every `next_job` until it is None; pass each hypothesis to `receive_hypothesis`;
        take `segments`

A job that failed may be sent again as it is; the plan waits for its hypothesis.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy.hallucination import filter_hypothesis
from whisper_service.policy.segment_times import (
    has_pauses,
    in_order,
    split_at_pauses,
    to_file_times,
)
from whisper_service.policy.silence_hallucination import Kept, without_silence_hallucinations
from whisper_service.policy.truncation import MAX_DECODES, MAX_UNCOVERED, is_truncated
from whisper_service.policy.window_cutter import FileWindow, WindowCutter
from whisper_service.types import (
    SAMPLE_RATE,
    SILENT_PADDING,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Segment,
)

_MIN_RETRY = 5 * SAMPLE_RATE
"""5 s: a retry of less audio begins some whole segments earlier, since Whisper hallucinates on a
word or two alone."""
_TOKEN_LIMIT = 224
"""The most tokens of one decode, half of Whisper's text context: one with as many was cut off."""
_MAX_PAUSE = 5 * SAMPLE_RATE
"""5 s: speech after a longer silence gets a window of its own."""
_MAX_PAUSE_BETWEEN_LANGUAGES = 3 * SAMPLE_RATE // 2
"""1.5 s, while languages are detected: the next speaker pauses before speaking."""


@dataclass(slots=True, eq=False)
class _PendingWindow:
    """One window whose segments are not out yet."""

    window: FileWindow
    start: int = 0
    """The sample of its audio from which it is still to be decoded."""
    segments: list[Segment] = field(default_factory=list)
    n_jobs: int = 0
    is_finished: bool = False


class FilePlan:
    """See the module. Segments come in order, with ids from 0 and times in seconds of the file.

    `multilingual`: detect the language of every window, not once for the file.
    """

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
        self._has_detector = detector is not None
        max_pause = _MAX_PAUSE if options.language else _MAX_PAUSE_BETWEEN_LANGUAGES
        self._cutter = WindowCutter(detector, max_pause=max_pause)
        self._has_ended = False
        self._windows: deque[_PendingWindow] = deque()
        """All whose segments are not out yet, in order."""
        self._waiting: deque[_PendingWindow] = deque()
        self._in_flight: dict[int, tuple[DecodeJob, _PendingWindow]] = {}
        """By the `id` of the job's audio, which the entry keeps alive."""
        self._segments: list[Segment] = []
        self._n_segments = 0
        self._last_end = 0.0
        self._position = 0
        self.has_speech = False
        """Whether the audio so far holds any speech."""
        self.language = options.language
        self.language_probability = 1.0 if options.language else 0.0
        self._is_language_known = options.language is not None

    @property
    def wants_audio(self) -> bool:
        """Whether there is room for more audio now.

        Windows that are finished but wait for an earlier one count as well: else the whole file
        could pile up behind one slow window.
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
        """Seconds of audio whose segments were released."""
        return (self._cutter.received if self.is_done else self._position) / SAMPLE_RATE

    def receive_audio(self, samples: Audio) -> None:
        """Take the next samples, of any number; call while `wants_audio`."""
        for at in range(0, len(samples), WINDOW_SAMPLES):
            self._cutter.push(samples[at : at + WINDOW_SAMPLES])
            self._take_windows()

    def end_of_audio(self) -> None:
        """Say that all audio was received."""
        self._has_ended = True
        self._cutter.end()
        self._take_windows()

    def next_job(self) -> DecodeJob | None:
        """Return a job to send now, or None; call again after each hypothesis and each push."""
        room = self._max_in_flight if self._is_language_known else 1
        if not self._waiting or len(self._in_flight) >= room:
            return None
        pending = self._waiting.popleft()
        pending.n_jobs += 1
        audio, decode = pending.window.audio[pending.start :], self._job_options(pending.window)
        # Short silence makes a language harder to detect, and noise easier to take for words.
        is_known_speech = self._has_detector and decode.language is not None
        job = DecodeJob(audio, decode, padding=SILENT_PADDING if is_known_speech else None)
        self._in_flight[id(job.audio)] = (job, pending)
        return job

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the hypothesis of a job of this plan; raises KeyError for any other job."""
        _, pending = self._in_flight.pop(id(job.audio))
        hypothesis = self._without_hallucinations(pending, hypothesis)
        self._learn_language(hypothesis)
        kept, resume_at = self._judge(pending, hypothesis)
        pending.segments += self._split(kept, pending.window)
        if resume_at is None:
            pending.is_finished = True
            self._release()
        else:
            pending.start = resume_at
            self._waiting.appendleft(pending)

    def segments(self) -> list[Segment]:
        """Return the segments finished since the last call."""
        finished, self._segments = self._segments, []
        return finished

    def _job_options(self, window: FileWindow) -> DecodeOptions:
        options = self._options
        if options.timestamps == "segment" and has_pauses(window):
            options = replace(options, timestamps="word")  # segments are split between words
        if not self._is_language_known or options.language is not None:
            return options
        if self._multilingual:
            return replace(options, likely_language=self.language)
        return replace(options, language=self.language)

    def _split(self, segments: Sequence[Segment], window: FileWindow) -> list[Segment]:
        """Split segments at pauses; drop word times that were not requested."""
        parts = [part for segment in segments for part in split_at_pauses(segment, window)]
        if self._options.timestamps == "word":
            return parts
        return [replace(part, words=()) for part in parts]

    def _learn_language(self, hypothesis: Hypothesis) -> None:
        """Keep the language of the first window with text; until then, that of the last window."""
        if not self._is_language_known:
            self.language = hypothesis.language
            self.language_probability = hypothesis.language_probability
            self._is_language_known = bool(hypothesis.segments)

    def _take_windows(self) -> None:
        while (window := self._cutter.cut()) is not None:
            pending = _PendingWindow(window)
            self.has_speech = True
            self._windows.append(pending)
            self._waiting.append(pending)
        self._release()

    def _judge(
        self, pending: _PendingWindow, hypothesis: Hypothesis
    ) -> tuple[list[Segment], int | None]:
        """Return the segments to keep and, if truncated, the sample of the window to resume at."""
        window = pending.window
        segments = [
            replace(to_file_times(segment, window, pending.start), language=hypothesis.language)
            for segment in hypothesis.segments
        ]
        if not segments or pending.n_jobs >= MAX_DECODES:
            return segments, None
        kept = self._without_silence_hallucinations(pending, segments)
        if kept.resume_at is not None:
            at = window.offset(round(kept.resume_at * SAMPLE_RATE))
            return list(kept.segments), at if at < len(window.audio) else None
        was_cut_off = self._was_cut_off(hypothesis.segments)
        if was_cut_off:
            before, cut = hypothesis.segments[-2:]
            covered = round((before.end + cut.start) / 2 * SAMPLE_RATE)
        else:
            covered = round(hypothesis.segments[-1].end * SAMPLE_RATE)
        covered += pending.start
        is_whole = not was_cut_off and not is_truncated(
            _speech_after(window, covered), pending.n_jobs
        )
        if is_whole or covered < pending.start + MAX_UNCOVERED:
            return segments, None
        return self._resume(pending, segments[:-1] if was_cut_off else segments, covered)

    def _resume(
        self, pending: _PendingWindow, segments: list[Segment], covered: int
    ) -> tuple[list[Segment], int]:
        """Resume at `covered`, or some segments earlier if little audio is left from there."""
        window = pending.window
        for n_kept in range(len(segments), 0, -1):
            if len(window.audio) - covered >= _MIN_RETRY:
                return segments[:n_kept], covered
            start = window.offset(round(segments[n_kept - 1].start * SAMPLE_RATE))
            if start < pending.start + MAX_UNCOVERED:
                return segments[:n_kept], covered
            covered = start
        return [], covered

    def _without_hallucinations(
        self, pending: _PendingWindow, hypothesis: Hypothesis
    ) -> Hypothesis:
        seconds = _speech_after(pending.window, pending.start) / SAMPLE_RATE
        return filter_hypothesis(hypothesis, self._options, speech_seconds=seconds).hypothesis

    def _without_silence_hallucinations(
        self, pending: _PendingWindow, segments: list[Segment]
    ) -> Kept:
        """Apply `hallucination_silence_threshold`, if it is set.

        Windows are decoded in parallel, so where speech before a window ended is not known: only
        silence within the window counts.
        """
        threshold = self._options.hallucination_silence_threshold
        start = pending.window.position(pending.start) / SAMPLE_RATE
        end = pending.window.end / SAMPLE_RATE
        if threshold is None:
            return Kept(tuple(segments), None)
        last = pending.segments[-1].end if pending.segments else start
        return without_silence_hallucinations(
            segments, threshold, start=start, end=end, last_speech=last, content_end=end
        )

    def _was_cut_off(self, segments: Sequence[Segment]) -> bool:
        """Whether a decode ended at the token limit, counting two timestamps for each segment."""
        n_tokens = sum(len(segment.tokens) + 2 for segment in segments)
        return self._options.max_tokens is None and len(segments) > 1 and n_tokens >= _TOKEN_LIMIT

    def _release(self) -> None:
        """Release the segments of all windows before the first unfinished one."""
        while self._windows and self._windows[0].is_finished:
            pending = self._windows.popleft()
            end = pending.window.end / SAMPLE_RATE
            for segment in in_order(pending.segments, self._last_end, end):
                self._segments.append(replace(segment, id=self._n_segments))
                self._n_segments += 1
                self._last_end = segment.end
            self._position = pending.window.end


def _speech_after(window: FileWindow, at: int) -> int:
    """Return how many samples of speech the window holds after sample `at` of its audio."""
    position = window.position(at)
    return sum(max(0, span.end - max(span.start, position)) for span in window.speech)
