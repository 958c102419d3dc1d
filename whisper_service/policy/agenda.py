"""Which window of a stream to decode next, and why.

Owns the order of what is due: the end of a stretch, a chunk that has waited long enough, a pause
that may turn out to be the end, a partial. Changes nothing; what answers become is `Reader`'s.
"""

from dataclasses import replace

from whisper_service.policy import energy
from whisper_service.policy.endpoint import VadOptions
from whisper_service.policy.listener import Listener
from whisper_service.policy.progress import NOTHING, Progress
from whisper_service.policy.stretch import Stretch
from whisper_service.policy.task import Kind, Task, can_cut_words
from whisper_service.policy.teller import Teller
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    DecodeJob,
    DecodeOptions,
    Priority,
    StreamConfig,
)

_RETRY = SAMPLE_RATE // 2
"""0.5 s, a long word: how much more to hear before asking again where no word was final yet."""


class Agenda:
    """Looks at what was heard and how far the stream is."""

    def __init__(
        self, config: StreamConfig, listener: Listener, progress: Progress, teller: Teller
    ) -> None:
        self._config = config
        self._chunk = round(config.chunk_duration * SAMPLE_RATE)
        self._partial_step = round(config.partial_interval * SAMPLE_RATE)
        self._has_words = config.decode.timestamps == "word"
        self._listener = listener
        self._vad: VadOptions = listener.vad
        self._at = progress
        self._teller = teller

    def next_task(self) -> Task | None:
        """Return what to decode now, if anything: what has to become final before partials."""
        stretch = self._at.stretch
        if stretch is None:
            return None
        return self._final_task(stretch) or self._partial_task(stretch)

    def _final_task(self, stretch: Stretch) -> Task | None:
        """Return the job for what has to become final now, if anything has to."""
        reach, end = self.reach(), stretch.end(self._vad)
        if end is not None and end <= reach:
            return self.task(Kind.LAST, end)
        if not self.is_due():
            return None
        pause = stretch.pause(self._listener.buffer, self._at.border, reach, self._vad)
        if pause is not None and pause > self._at.border:
            return self.task(Kind.PAUSE, pause)
        return self.task(Kind.WORDS, reach)

    def _partial_task(self, stretch: Stretch) -> Task | None:
        reach = self.reach()
        if stretch.silent_since() is not None:
            end = self._pause_end(stretch)
            is_asked = self._at.speculative is not None and self._at.speculative[0].end == end
            return None if end is None or is_asked else self.task(Kind.SPECULATIVE, end)
        step = max(self._partial_step, self._at.rest)
        if not self._partial_step or reach < self._at.last_partial + step:
            return None
        return None if self.is_silent(reach) else self.task(Kind.PARTIAL, reach)

    def _pause_end(self, stretch: Stretch) -> int | None:
        """Return where speech up to the pause that lasts ends; None where there is none, or as long
        as its last consonant may not have been heard."""
        silent_since = stretch.silent_since()
        if silent_since is None or silent_since - self._at.border <= NOTHING:
            return None
        end = silent_since + self._vad.pad_after
        return end if end <= self.reach() else None

    def is_due(self) -> bool:
        """Tell whether something of an open stretch has to become final."""
        heard = self._listener.heard
        if heard >= self._begin() + WINDOW_SAMPLES:
            return True
        if self._at.attempted > self._at.border:
            return heard >= self._at.attempted + _RETRY
        return heard >= self._at.border + self._chunk and self._at.resumes_at() is not None

    def reach(self) -> int:
        """Return up to where the next job may hear."""
        return min(self._listener.heard, self._begin() + WINDOW_SAMPLES)

    def _begin(self) -> int:
        return max(self._at.border - self._at.lead, self._listener.buffer.start)

    def task(self, kind: Kind, end: int) -> Task:
        """Return the job that hears up to `end`, from as far back as is to be heard again."""
        begin = self._begin()
        end = min(end, self._listener.received, begin + WINDOW_SAMPLES)
        # Context is what most often makes Whisper break off.
        has_context = self._config.use_context and not self._at.n_tries
        context = self._teller.context if has_context else ""
        audio = self._listener.buffer.slice(begin, end)
        priority: Priority = "live" if kind is Kind.PARTIAL else "final"
        job = DecodeJob(audio, self._options(kind), context, priority=priority)
        return Task(kind, begin, self._at.border, end, self._listener.received, job)

    def _options(self, kind: Kind) -> DecodeOptions:
        """Ask for what is needed only: word times cost another pass, and a doubtful decode up to
        five more. A partial that hears half a word is often in doubt, and the next one replaces it.
        """
        options = replace(self._config.decode, language=self._teller.language.known)
        if kind is Kind.PARTIAL:
            options = replace(options, temperatures=options.temperatures[:1])
        if self._has_words:
            return options
        needs_words = self._at.lead > 0 or (
            kind is Kind.WORDS and can_cut_words(self._config.decode)
        )
        return replace(options, timestamps="word" if needs_words else "segment")

    def is_overtaken(self, task: Task) -> bool:
        """Tell a partial in flight that something which has to become final waits for."""
        stretch = self._at.stretch
        if stretch is None or task.kind is not Kind.PARTIAL:
            return False
        end = stretch.end(self._vad)
        return end is not None or self.is_due() or self._pause_end(stretch) is not None

    def is_silent(self, end: int) -> bool:
        """Tell whether nothing since the border can be heard."""
        return energy.is_silent(self._listener.buffer.slice(min(self._at.border, end), end))
