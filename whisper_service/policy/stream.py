"""A live stream's plan: what to decode next, and hypotheses as partials and finals.

Owns the contract of `/stream`: finals in order that are never taken back and cover all speech,
partials whose stable part only grows, borders that cut no word. It refuses to know the time, the
engine and the socket: two seconds of samples are two seconds. What it promises in detail:

- The finals' texts followed by the last partial's `stable` only ever grow. Where the decode of a
  final disagrees with words already told to be stable, the stable words win.
- With a decoder that keeps up, all events depend on the audio alone, not on how it was cut on its
  way here: the plan hears it frame by frame and asks for a job as soon as one is due. What comes in
  while a job is in flight is heard at once, so the next job covers it: that sheds load.
- After `stop`, everything that was received is final before `Done`.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto

from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy import energy
from whisper_service.policy.agreement import Agreement, Heard
from whisper_service.policy.border import border_range, count_final, drop_final, place_border
from whisper_service.policy.endpoint import VadOptions
from whisper_service.policy.events import (
    Event,
    SpeechEnded,
    SpeechStarted,
    StreamState,
)
from whisper_service.policy.guard import guard
from whisper_service.policy.hearing import heard_words
from whisper_service.policy.listener import Listener
from whisper_service.policy.stretch import Stretch
from whisper_service.policy.teller import Teller
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    Priority,
    StreamConfig,
)

_RETRY = SAMPLE_RATE // 2
"""0.5 s, a long word: how much more to hear before asking again where no word was final yet."""
_NOTHING = SAMPLE_RATE // 8
"""125 ms of speech after a border: the detector hears a word's end late, the border is early."""
_LEAST = SAMPLE_RATE // 5
"""200 ms, a short word: times that say less of a whole word or two are wrong, and a border there
would have them heard again."""
_UNCOVERED = SAMPLE_RATE
"""1 s of speech after a decode's last word holds a word or two; less is breath and reverb."""
_MAX_TRIES = 4
"""Decodes of a stretch that may break off, one after the other."""
_UNHEARD = SAMPLE_RATE
"""1 s at the end of audio without words is heard again: a word may have begun there."""


class _Kind(Enum):
    """What a job's hypothesis will be used for."""

    PARTIAL = auto()
    SETTLED = auto()
    """Also a partial, up to a pause; the final, if the pause turns out to be the end."""
    PAUSE = auto()
    """Final: all of it, up to a pause within the stretch."""
    WORDS = auto()
    """Final: the words that cannot have been cut."""
    LAST = auto()
    """Final: all of it, and the end of the stretch."""


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    """A job with its reason. The words of `[border, end)` are wanted; it begins before that."""

    kind: _Kind
    begin: int
    border: int
    end: int
    job: DecodeJob


class StreamPlan:
    """Push audio; send `next_job` until it is None; feed answers back; take `events`."""

    def __init__(
        self,
        config: StreamConfig,
        *,
        detector: SpeechDetector | None,
        resume: StreamState | None = None,
    ) -> None:
        decode = config.decode
        state = resume or StreamState(0, 0, None, 0.0, "")
        if state.language is None and decode.language is not None:
            state = replace(state, language=decode.language, language_probability=1.0)
        self._config = config
        self._chunk = round(config.chunk_duration * SAMPLE_RATE)
        self._overlap = round(config.overlap * SAMPLE_RATE)
        self._partial_step = round(config.partial_interval * SAMPLE_RATE)
        self._has_words = decode.timestamps == "word"
        vad = VadOptions()
        shortest_pad = min(vad.speech_pad_after_ms, round(config.endpoint_silence * 1000))
        self._vad = replace(vad, speech_pad_after_ms=shortest_pad)
        self._listener = Listener(
            detector if config.vad else None,
            endpoint_silence=config.endpoint_silence,
            vad=self._vad,
            position=state.offset,
        )
        self._teller = Teller(
            state, has_words=self._has_words, has_partials=config.partial_interval > 0
        )
        self._agreement = Agreement()
        # the stretch at work
        self._stretch: Stretch | None = None
        self._border = state.offset
        """Everything before it is final."""
        self._lead = 0
        """How much before the border is decoded again: 0 after a pause."""
        self._last_final: Heard | None = None
        self._attempted = state.offset
        """Where the last try for a border between words ended, if in vain."""
        self._last_partial = state.offset
        self._rest = 0
        """How much to hear after a partial before the next one, whatever the interval."""
        self._settled: tuple[_Task, Hypothesis] | None = None
        self._n_tries = 0
        """Decodes since the last good one that broke off before the border."""
        # the job in flight
        self._in_flight: _Task | None = None
        self._is_stopped = False
        self.is_done = False
        self.n_loops = 0
        """Loops of the decoder that were dropped."""
        self.n_phrases = 0
        """Stock phrases out of noise that were dropped."""

    @property
    def received(self) -> float:
        """Where the stream is, in seconds on its own clock."""
        return self._listener.received / SAMPLE_RATE

    @property
    def backlog(self) -> float:
        """Seconds of speech that wait for a final longer than `chunk_duration` allows."""
        if not self._listener.stretches or self._resumes_at() is None:
            return 0.0
        begin = max(self._border, self._attempted, self._listener.stretches[0].begin)
        return max(0.0, (self._listener.received - begin - self._chunk) / SAMPLE_RATE)

    def receive_audio(self, samples: Audio) -> None:
        """Take the next samples, of any number; raises ValueError after `stop`."""
        if self._is_stopped:
            raise ValueError("the stream was stopped; it takes no more audio")
        self._listener.receive(samples)
        if self._in_flight is not None:
            self._hear_all()
        self._advance()

    def finalize(self) -> None:
        """Make all that was said so far final as soon as possible, and go on."""
        if not self._is_stopped:
            self._hear_all()
            self._listener.close()
            self._advance()

    def stop(self) -> None:
        """Make everything final; `Done` comes after the last job was answered."""
        if not self._is_stopped:
            self._is_stopped = True
            self._listener.end()
            self._advance()

    def next_job(self) -> DecodeJob | None:
        """Return the job to send now, or None if one is in flight or there is nothing to do."""
        if self._in_flight is not None:
            return None
        self._in_flight = self._advance()
        return None if self._in_flight is None else self._in_flight.job

    @property
    def is_overtaken(self) -> bool:
        """Whether the job in flight is a partial, and what is to be final waits only for it.

        Its answer would be old before it is told: `abandon` it, and ask for the next one.
        """
        task, stretch = self._in_flight, self._stretch
        if task is None or stretch is None or task.kind is not _Kind.PARTIAL:
            return False
        end = stretch.end(self._vad)
        return end is not None or self._is_due() or self._settled_end(stretch) is not None

    def abandon(self, job: DecodeJob) -> None:
        """Give up a job that failed or was overtaken; the next one covers its audio, and what
        came since."""
        self._take_in_flight(job)

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the answer to the job in flight; raises ValueError for any other."""
        task = self._take_in_flight(job)
        guarded = guard(hypothesis, job.options)
        self.n_loops += guarded.n_loops
        self.n_phrases += guarded.n_phrases
        self._use(task, guarded.hypothesis)
        self._advance()

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        return self._teller.drain()

    # --- what to decode

    def _next_task(self) -> _Task | None:
        stretch = self._stretch
        if stretch is None:
            return None
        return self._final_task(stretch) or self._partial_task(stretch)

    def _final_task(self, stretch: Stretch) -> _Task | None:
        """Return the job for what has to become final now, if anything has to."""
        reach, end = self._reach(), stretch.end(self._vad)
        if end is not None and end <= reach:
            return self._task(_Kind.LAST, end)
        if not self._is_due():
            return None
        pause = stretch.pause(self._listener.buffer, self._border, reach, self._vad)
        if pause is not None and pause > self._border:
            return self._task(_Kind.PAUSE, pause)
        return self._task(_Kind.WORDS, reach)

    def _partial_task(self, stretch: Stretch) -> _Task | None:
        reach = self._reach()
        if stretch.silent_since() is not None:
            end = self._settled_end(stretch)
            is_asked = self._settled is not None and self._settled[0].end == end
            return None if end is None or is_asked else self._task(_Kind.SETTLED, end)
        step = max(self._partial_step, self._rest)
        if not self._partial_step or reach < self._last_partial + step:
            return None
        return None if self._is_silent(reach) else self._task(_Kind.PARTIAL, reach)

    def _settled_end(self, stretch: Stretch) -> int | None:
        """Return where speech up to the pause that lasts ends; None where there is none, or as long
        as its last consonant may not have been heard."""
        silent_since = stretch.silent_since()
        if silent_since is None or silent_since - self._border <= _NOTHING:
            return None
        end = silent_since + self._vad.pad_after
        return end if end <= self._reach() else None

    def _is_due(self) -> bool:
        """Tell whether something of an open stretch has to become final."""
        heard = self._listener.heard
        if heard >= self._begin() + WINDOW_SAMPLES:
            return True
        if self._attempted > self._border:
            return heard >= self._attempted + _RETRY
        return heard >= self._border + self._chunk and self._resumes_at() is not None

    def _resumes_at(self) -> int | None:
        """Return where speech goes on, if the border is in a pause; None if the pause lasts."""
        stretch = self._stretch
        if stretch is None or stretch.utterance is None or self._border <= stretch.begin:
            return self._border
        return stretch.utterance.speech_after(self._border, ignored=_NOTHING)

    def _reach(self) -> int:
        """Return up to where the next job may hear."""
        return min(self._listener.heard, self._begin() + WINDOW_SAMPLES)

    def _begin(self) -> int:
        return max(self._border - self._lead, self._listener.buffer.start)

    def _task(self, kind: _Kind, end: int) -> _Task:
        begin = self._begin()
        end = min(end, self._listener.received, begin + WINDOW_SAMPLES)
        # Context is what most often makes Whisper break off.
        has_context = self._config.use_context and not self._n_tries
        context = self._teller.context if has_context else ""
        audio = self._listener.buffer.slice(begin, end)
        priority: Priority = "live" if kind is _Kind.PARTIAL else "final"
        job = DecodeJob(audio, self._options(kind), context, priority=priority)
        return _Task(kind, begin, self._border, end, job)

    def _options(self, kind: _Kind) -> DecodeOptions:
        """Ask for word times only where they are needed: they cost another pass."""
        options = replace(self._config.decode, language=self._teller.language.known)
        if self._has_words:
            return options
        needs_words = self._lead > 0 or (kind is _Kind.WORDS and self._can_cut_words)
        return replace(options, timestamps="word" if needs_words else "segment")

    @property
    def _can_cut_words(self) -> bool:
        """Translated words have no place of their own in the audio."""
        return self._config.decode.task == "transcribe"

    # --- what to make of hypotheses

    def _take_in_flight(self, job: DecodeJob) -> _Task:
        task = self._in_flight
        if task is None or task.job.audio is not job.audio:
            raise ValueError("this job is not the one in flight")
        self._in_flight = None
        return task

    def _use(self, task: _Task, hypothesis: Hypothesis) -> None:
        words = heard_words(hypothesis, task.begin, task.end)
        if task.begin < task.border:
            words = drop_final(words, task.border, self._last_final, begin=task.begin)
        if task.kind in (_Kind.PARTIAL, _Kind.SETTLED):
            self._use_partial(task, hypothesis, words)
        elif task.kind is _Kind.WORDS:
            self._use_words(task, hypothesis, words)
        elif not self._take_up(task, hypothesis, words):
            self._use_whole(task, hypothesis, words)

    def _use_partial(self, task: _Task, hypothesis: Hypothesis, words: list[Heard]) -> None:
        # What came in meanwhile is the time it took. Resting as long leaves the engine half of its
        # time for finals, however many streams ask.
        self._rest = 2 * (self._listener.received - task.end)
        is_settled = task.kind is _Kind.SETTLED
        if is_settled:
            self._settled = (task, hypothesis)
        rest = self._agreement.hear(words, is_settled=is_settled)
        self._tell_partial(rest, task.end)

    def _use_words(self, task: _Task, hypothesis: Hypothesis, words: list[Heard]) -> None:
        """Make final what cannot change; if that is nothing, wait for more unless 30 s are full."""
        if not words and self._breaks_off(task, words):
            self._n_tries += 1
            return
        self._agreement.hear(words, is_settled=False)
        merged = self._agreement.merge(words)
        n_final = self._count_final(merged, task, hypothesis)
        must_cut = task.end - task.begin >= WINDOW_SAMPLES
        border = self._place_border(merged, n_final, task.end)
        if border < task.border + _LEAST and must_cut:
            n_final, border = len(merged), task.end
        if border < task.border + _LEAST:
            self._attempted = task.end
            self._tell_partial(merged[len(self._agreement.stable) :], task.end)
            return
        final, rest = merged[:n_final], merged[n_final:]
        self._teller.tell_final(final, hypothesis, start=task.border, end=border)
        self._move_border(border, lead=self._overlap if self._can_cut_words and final else 0)
        self._last_final = final[-1] if final else None
        self._agreement.clear()
        self._tell_partial(self._agreement.hear(rest, is_settled=False), task.end)

    def _count_final(self, merged: list[Heard], task: _Task, hypothesis: Hypothesis) -> int:
        if self._can_cut_words:
            return max(count_final(merged, task.end), len(self._agreement.stable))
        # without word times: all segments but the last one are whole
        complete = hypothesis.segments[:-1]
        end = task.begin + round(complete[-1].end * SAMPLE_RATE) if complete else task.begin
        n_final = sum(word.end <= end for word in merged)
        return n_final if n_final >= len(self._agreement.stable) else 0

    def _place_border(self, words: list[Heard], n_final: int, end: int) -> int:
        if not words:
            low, high, near = end - _UNHEARD, end, end - _UNHEARD // 2
        elif n_final:
            low, high = border_range(words, n_final, end)
            near = words[n_final - 1].end
        else:
            return self._border
        low = max(low, self._border)
        if high <= low:
            return self._border
        near = min(max(near, low), high)
        return place_border(self._listener.buffer.slice(low, high), low, near)

    def _use_whole(self, task: _Task, hypothesis: Hypothesis, words: list[Heard]) -> None:
        """Make all of it final."""
        is_last = task.kind is _Kind.LAST
        final = self._agreement.merge(words) if is_last else self._agreement.settle(words)
        self._teller.tell_final(final, hypothesis, start=task.border, end=task.end)
        self._move_border(task.end, lead=0)
        if is_last:
            self._agreement.clear()

    def _take_up(self, task: _Task, hypothesis: Hypothesis, words: list[Heard]) -> bool:
        """If the decode ended long before the speech did, make final what it has and go on from
        there, without context; return whether it did."""
        merged = self._agreement.merge(words)
        if not self._breaks_off(task, merged):
            return False
        n_tries, border = self._n_tries + 1, task.border
        if merged:
            border = self._place_border(merged, len(merged), task.end)
            if border < task.border + _LEAST:
                return False
            self._teller.tell_final(merged, hypothesis, start=task.border, end=border)
            self._agreement.clear()
        self._move_border(border, lead=0)
        self._n_tries = n_tries
        return True

    def _breaks_off(self, task: _Task, words: list[Heard]) -> bool:
        """Tell a decode after whose words there is more speech, if it is worth another."""
        if self._n_tries >= _MAX_TRIES:
            return False
        if not words and not task.job.previous_text:
            return False  # no word is there
        heard = words[-1].end if words else task.border
        loud = energy.speech_like(task.job.audio)[max(0, heard - task.begin) // energy.HOP :]
        return int(loud.sum()) * energy.HOP > _UNCOVERED

    # --- moving on

    def _hear_all(self) -> None:
        while self._listener.step():
            pass

    def _advance(self) -> _Task | None:
        """Hear on until a job is due, leaving behind what needs none; return it."""
        task = None
        while self._in_flight is None:
            if self._move_on():
                continue
            task = self._next_task()
            if task is not None or not self._listener.step():
                break
        self._listener.discard_before(max(self._border - self._overlap, 0))
        if self._is_stopped and not self._listener.stretches and not self.is_done:
            self.is_done = True
            self._teller.tell_done(self.received)
        return task

    def _move_on(self) -> bool:
        """Leave behind a stretch that is final, or silence; return whether there was any."""
        if self._stretch is None:
            return self._begin_stretch()
        end = self._stretch.end(self._vad)
        if end is not None and end <= self._reach():
            if self._has_nothing_left(self._stretch, end):
                self._end_stretch(self._stretch, end)
                return True
            return self._use_settled(end)
        resumes_at = self._resumes_at()
        if resumes_at is not None and resumes_at - self._vad.pad_before > self._border:
            self._move_border(resumes_at - self._vad.pad_before, lead=0)
            return True
        if self._is_due() and self._is_silent(self._reach()):
            self._move_border(self._reach(), lead=0)
            return True
        return False

    def _begin_stretch(self) -> bool:
        if not self._listener.stretches:
            return False
        stretch = self._stretch = self._listener.stretches[0]
        self._move_border(max(self._border, stretch.begin), lead=0)
        if stretch.utterance is not None:
            self._last_partial = max(self._border, stretch.utterance.start)
            if stretch.is_first:
                self._teller.tell(SpeechStarted(stretch.utterance.start / SAMPLE_RATE))
        return True

    def _end_stretch(self, stretch: Stretch, end: int) -> None:
        utterance = stretch.utterance
        left = self._agreement.stable
        self._teller.tell_final(left, None, start=self._border, end=max(self._border, end))
        self._agreement.clear()
        self._stretch = None
        self._border = max(self._border, end)
        self._listener.pop(self._border)
        is_last = not self._listener.stretches or (
            self._listener.stretches[0].utterance is not utterance
        )
        if utterance is not None and is_last:
            speech_end = utterance.silent_since
            at = self._listener.received if speech_end is None else speech_end
            self._teller.tell(SpeechEnded(at / SAMPLE_RATE))

    def _has_nothing_left(self, stretch: Stretch, end: int) -> bool:
        """Tell whether what is left of a stretch holds no word."""
        if end <= self._border or self._is_silent(end):
            return True
        is_echo = stretch.speech_end() - self._border <= _NOTHING
        return is_echo and self._border > stretch.begin

    def _is_silent(self, end: int) -> bool:
        """Tell whether nothing since the border can be heard."""
        return energy.is_silent(self._listener.buffer.slice(min(self._border, end), end))

    def _use_settled(self, end: int) -> bool:
        """Make the decode up to the pause that became the end the final, if there was one."""
        if self._settled is None:
            return False
        task, hypothesis = self._settled
        wanted = self._task(_Kind.LAST, end)
        if (task.begin, task.end) != (wanted.begin, wanted.end):
            return False
        if task.job.previous_text != wanted.job.previous_text:
            return False
        if task.job.options.timestamps != wanted.job.options.timestamps:
            return False
        self._use(replace(task, kind=_Kind.LAST), hypothesis)
        return True

    def _move_border(self, border: int, *, lead: int) -> None:
        self._border = border
        self._lead = lead
        self._last_final = None
        self._settled = None
        self._n_tries = 0
        self._attempted = border
        self._last_partial = max(self._last_partial, border)
        if self._stretch is not None and self._stretch.utterance is not None:
            self._stretch.utterance.forget_before(border)

    def _tell_partial(self, rest: list[Heard], end: int) -> None:
        self._last_partial = end
        self._teller.tell_partial(self._agreement.stable, rest, start=self._border, end=end)
