"""A live stream's plan: what to decode next, and hypotheses as partials and finals.

Owns the contract of `/stream`: finals in order that are never taken back and cover all speech,
partials whose stable part only grows. It refuses to know the time, the engine and the socket: two
seconds of samples are two seconds. `Listener` hears; `SentenceWindow` is what a decode hears of it;
`Agreement` says which words can be relied on; this is the one that decides, and the only one that
moves the border, before which everything is final:

    silence -> speech: partials, finals of chunks -> a pause -> the end, a final -> silence
                       ^                                |
                       +------- speech goes on ---------+

- The finals' texts followed by the last partial's `stable` only ever grow. Where the decode of a
  final disagrees with words already told to be stable, the stable words win.
- With a decoder that keeps up, all events depend on the audio alone, not on how it was cut on its
  way here: the plan hears it frame by frame and asks for a job as soon as one is due. What comes in
  while a job is in flight is heard at once, so the next job covers it: that sheds load.
- After `stop`, everything that was received is final before `Done`.
"""

from collections.abc import Sequence
from dataclasses import replace

from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy import energy
from whisper_service.policy.agreement import Agreement, Heard
from whisper_service.policy.commit import Answer, Commit, decide, new_words
from whisper_service.policy.cursor import Cursor
from whisper_service.policy.endpoint import VadOptions
from whisper_service.policy.events import (
    Event,
    FinalEnd,
    SpeechEnded,
    SpeechStarted,
    StreamState,
)
from whisper_service.policy.hallucination import is_invented, without_hallucinations
from whisper_service.policy.listener import Listener
from whisper_service.policy.sentence_window import SentenceWindow
from whisper_service.policy.stretch import Stretch
from whisper_service.policy.task import Kind, Task
from whisper_service.policy.teller import Teller
from whisper_service.types import (
    SAMPLE_RATE,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
    StreamConfig,
)

_MAX_PAUSE = 3 * SAMPLE_RATE
"""Speech after a longer pause is decoded without what was said before it."""
_HOLD = 2 * SAMPLE_RATE
"""After as long a pause a sentence is over, whatever follows."""
_FIRST_PARTIAL = SAMPLE_RATE // 2
"""0.5 s: the least that Whisper makes a word of; nobody should wait longer for the first."""
_RETRY = SAMPLE_RATE // 2
"""0.5 s, a long word: how much more to hear before asking again where no word was final yet."""
_NOTHING = SAMPLE_RATE // 8
"""125 ms of speech after a border: the detector hears a word's end late, the border is early."""
_PADDING = 5.0
"""Seconds of silence that a decode needs after its audio, lest it loops: with 2 s of it words are
wrong that 5 s have right, and the 30 s that Whisper was trained on take half as long again."""


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
        self._can_place_words = decode.task == "transcribe"
        """Of a translation no word has a place in the audio: it is final at pauses."""
        self._chunk = round(config.chunk_duration * SAMPLE_RATE)
        self._partial_step = round(config.partial_interval * SAMPLE_RATE)
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
            state,
            has_words=decode.timestamps == "word",
            has_partials=config.partial_interval > 0,
        )
        overlap = round(config.overlap * SAMPLE_RATE)
        self._window = SentenceWindow(
            state.offset, state.context, chunk=self._chunk, overlap=overlap
        )
        self._agreement = Agreement()
        self._stretch: Stretch | None = None
        self._cursor = Cursor.begin(state.offset, state.mark)
        self._speculative: tuple[Task, Hypothesis] | None = None
        """The decode up to the pause that lasts: the final, if that pause becomes the end."""
        self._in_flight: Task | None = None
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
        begin = max(self._cursor.border, self._cursor.attempted, self._listener.stretches[0].begin)
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
        if self._in_flight is None or self._in_flight.kind is not Kind.PARTIAL:
            return False
        if self._stretch is None:
            return False
        has_ended = self._stretch.end(self._vad) is not None
        return has_ended or self._is_due() or self._pause_end() is not None

    def abandon(self, job: DecodeJob) -> None:
        """Give up a job that failed or was overtaken; the next one covers its audio, and what
        came since."""
        self._take_in_flight(job)

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the answer to the job in flight; raises ValueError for any other."""
        task = self._take_in_flight(job)
        self._use(task, self._without_hallucinations(task, hypothesis))
        self._advance()

    def events(self) -> list[Event]:
        """Return what happened since the last call."""
        return self._teller.drain()

    def _take_in_flight(self, job: DecodeJob) -> Task:
        task = self._in_flight
        if task is None or task.job.audio is not job.audio:
            raise ValueError("this job is not the one in flight")
        self._in_flight = None
        return task

    # --- moving on

    def _hear_all(self) -> None:
        while self._listener.step():
            pass

    def _advance(self) -> Task | None:
        """Hear on until a job is due, leaving behind what needs none; return it."""
        task = None
        while self._in_flight is None:
            if self._move_on():
                continue
            task = self._next_task()
            if task is not None or not self._listener.step():
                break
        is_open = self._stretch is not None or not self._window.is_empty
        self._listener.discard_before(self._window.begin if is_open else None)
        if self._is_stopped and not self._listener.stretches and not self.is_done:
            self.is_done = True
            self._teller.tell_done(self.received)
        return task

    def _move_on(self) -> bool:
        """Leave behind a stretch that is final, or silence; return whether there was any."""
        if self._stretch is None:
            return self._leave_silence() or self._begin_stretch()
        end = self._stretch.end(self._vad)
        if end is not None and end <= self._reach():
            if self._has_nothing_left(self._stretch, end):
                self._end_stretch(self._stretch, end)
                return True
            return self._commit_speculative(Kind.LAST, end)
        resumes_at = self._resumes_at()
        if (
            resumes_at is not None
            and resumes_at - self._vad.pad_before > self._cursor.border + _MAX_PAUSE
        ):
            self._confirm_mark(resumes_at - self._vad.pad_before)
            self._begin_window(resumes_at - self._vad.pad_before)
            return True
        if not self._is_due():
            return False
        if self._is_silent(self._reach()):
            self._begin_window(self._reach())
            return True
        pause_end = self._pause_end()
        return pause_end is not None and self._commit_speculative(Kind.PAUSE, pause_end)

    def _leave_silence(self) -> bool:
        """After a while of silence a sentence is over, and a while later what was said is past."""
        stretches = self._listener.stretches
        until = stretches[0].begin if stretches else self._listener.heard
        silence = until - self._cursor.border
        if self._cursor.mark and (silence >= _HOLD or (self._is_stopped and not stretches)):
            self._confirm_mark(until)
            return True
        if not self._window.is_empty and silence > _MAX_PAUSE:
            self._window.restart(self._cursor.border, self._teller.context)
            return True
        return False

    def _begin_stretch(self) -> bool:
        if not self._listener.stretches:
            return False
        stretch = self._stretch = self._listener.stretches[0]
        begin = max(self._cursor.border, stretch.begin)
        if self._window.is_empty:
            self._window.restart(begin, self._teller.context)
        self._move_border(begin)
        if stretch.utterance is not None:
            speech_start = max(begin, stretch.utterance.start)
            self._cursor = replace(self._cursor, last_partial=speech_start)
            if stretch.is_first:
                self._teller.tell(SpeechStarted(stretch.utterance.start / SAMPLE_RATE))
        return True

    def _begin_window(self, begin: int) -> None:
        """All before `begin` is final, and is not heard again."""
        self._tell_final(self._agreement.stable, None, begin, ends_at="pause")
        self._window.restart(begin, self._teller.context)
        self._move_border(begin)

    def _end_stretch(self, stretch: Stretch, end: int) -> None:
        utterance = stretch.utterance
        end = max(self._cursor.border, end)
        self._tell_final(self._agreement.stable, None, end, ends_at="speech")
        self._move_border(end)
        self._stretch = None
        self._listener.pop(self._cursor.border)
        is_last = not self._listener.stretches or (
            self._listener.stretches[0].utterance is not utterance
        )
        if utterance is not None and is_last:
            speech_end = utterance.silent_since
            at = self._listener.received if speech_end is None else speech_end
            self._teller.tell(SpeechEnded(at / SAMPLE_RATE))

    def _has_nothing_left(self, stretch: Stretch, end: int) -> bool:
        """Tell whether what is left of a stretch holds no word."""
        if end <= self._cursor.border or self._is_silent(end):
            return True
        is_echo = stretch.speech_end() - self._cursor.border <= _NOTHING
        return is_echo and self._cursor.border > stretch.begin

    def _commit_speculative(self, kind: Kind, end: int) -> bool:
        """Make the decode up to the pause the final, if there was one."""
        if self._speculative is None:
            return False
        task, hypothesis = self._speculative
        if (task.begin, task.end) != (self._window.begin, end):
            return False
        if task.job.prefix != self._window.prefix or task.border != self._cursor.border:
            return False
        self._use(replace(task, kind=kind), hypothesis)
        return True

    def _move_border(self, border: int) -> None:
        self._cursor = self._cursor.moved(border)
        self._agreement.clear()
        self._speculative = None
        if self._stretch is not None and self._stretch.utterance is not None:
            self._stretch.utterance.forget_before(border)

    # --- what to decode

    def _next_task(self) -> Task | None:
        """Return what to decode now, if anything: what has to become final before partials."""
        stretch = self._stretch
        if stretch is None:
            return None
        self._window.trim(self._reach(), self._cursor.border, self._listener.buffer)
        reach, end = self._reach(), stretch.end(self._vad)
        if end is not None and end <= reach:
            return self._task(Kind.LAST, end)
        pause_end = self._pause_end()
        if self._is_due():
            if stretch.silent_since() is None:
                return self._task(Kind.WORDS, reach)
            return None if pause_end is None else self._task(Kind.PAUSE, pause_end)
        if stretch.silent_since() is not None:
            is_asked = self._speculative is not None and self._speculative[0].end == pause_end
            return (
                None if pause_end is None or is_asked else self._task(Kind.SPECULATIVE, pause_end)
            )
        return self._partial_task(reach)

    def _partial_task(self, reach: int) -> Task | None:
        due = self._cursor.last_partial + min(self._partial_step, _FIRST_PARTIAL)
        if self._cursor.has_words:
            due = max(self._cursor.last_partial + self._partial_step, self._cursor.rests_until)
        if not self._partial_step or reach < due:
            return None
        return None if self._is_silent(reach) else self._task(Kind.PARTIAL, reach)

    def _task(self, kind: Kind, end: int) -> Task:
        """Return the job that hears the window up to `end`."""
        begin = self._window.begin
        # Context is what most often makes Whisper break off.
        has_context = self._config.use_context and not self._cursor.n_tries
        job = DecodeJob(
            self._listener.buffer.slice(begin, end),
            self._options(kind),
            self._window.context if has_context else "",
            prefix=self._window.prefix,
            draft=self._agreement.text,
            padding=_PADDING,
            priority="live" if kind is Kind.PARTIAL else "final",
        )
        return Task(kind, begin, self._cursor.border, end, self._listener.received, job)

    def _options(self, kind: Kind) -> DecodeOptions:
        """Ask for what is needed only: word times cost another pass, and a doubtful decode up to
        five more. A partial that hears half a word is often in doubt, and the next one replaces it.
        """
        options = replace(self._config.decode, language=self._teller.language.known)
        if kind is Kind.PARTIAL:
            return replace(options, temperatures=options.temperatures[:1], timestamps="none")
        return replace(options, timestamps="word" if self._can_place_words else "segment")

    def _reach(self) -> int:
        """Up to where the next job may hear."""
        return min(self._listener.heard, self._window.end)

    def _is_due(self) -> bool:
        """Tell whether something of an open stretch has to become final."""
        heard = self._listener.heard
        if heard >= self._window.end:
            return True
        since = self._resumes_at()
        if since is None:
            return False
        if not self._can_place_words and self._pause_end() is None:
            return False
        if self._cursor.attempted > self._cursor.border:
            return heard >= self._cursor.attempted + _RETRY
        return heard >= since + self._chunk

    def _resumes_at(self) -> int | None:
        """Return where speech goes on, if the border is in a pause; None if the pause lasts."""
        stretch = self._stretch
        if stretch is None or stretch.utterance is None or self._cursor.border <= stretch.begin:
            return self._cursor.border
        return stretch.utterance.speech_after(self._cursor.border, ignored=_NOTHING)

    def _pause_end(self) -> int | None:
        """Return where speech up to the pause that lasts ends; None where there is none, or as long
        as its last consonant may not have been heard."""
        silent_since = self._stretch.silent_since() if self._stretch is not None else None
        if silent_since is None or silent_since - self._cursor.border <= _NOTHING:
            return None
        end = silent_since + self._vad.pad_after
        return end if end <= self._reach() else None

    def _is_silent(self, end: int) -> bool:
        """Tell whether nothing since the border can be heard."""
        return energy.is_silent(self._listener.buffer.slice(min(self._cursor.border, end), end))

    # --- what answers become

    def _without_hallucinations(self, task: Task, hypothesis: Hypothesis) -> Hypothesis:
        filtered = without_hallucinations(hypothesis, task.job.options)
        self.n_loops += filtered.n_loops
        self.n_phrases += filtered.n_phrases
        seconds = (task.end - task.border) / SAMPLE_RATE
        before = task.job.previous_text + task.job.prefix
        if is_invented(filtered.hypothesis, task.job.options, seconds, before):
            return replace(filtered.hypothesis, segments=())
        return filtered.hypothesis

    def _use(self, task: Task, hypothesis: Hypothesis) -> None:
        """Tell what the answer to a task says, and move on as far as it is final."""
        words = new_words(task, hypothesis)
        if task.kind in (Kind.PARTIAL, Kind.SPECULATIVE):
            self._use_partial(task, hypothesis, words)
            return
        if task.kind is Kind.WORDS:
            self._agreement.hear(words, is_complete=False)
        n_stable = len(self._agreement.stable)
        answer = Answer(task, self._agreement.merge(words), n_stable)
        decision = self._decide(answer)
        if decision is not None:
            self._commit(decision, task, hypothesis)
        else:
            self._cursor = replace(self._cursor, attempted=task.end)
            self._tell_partial(answer.words[n_stable:], task.end)

    def _use_partial(self, task: Task, hypothesis: Hypothesis, words: Sequence[Heard]) -> None:
        # What came in meanwhile is the time it took. Resting as long leaves the engine half of its
        # time for finals, however many streams ask.
        rests_until = task.end + 2 * (self._listener.received - task.asked_at)
        self._cursor = replace(self._cursor, rests_until=rests_until)
        is_complete = task.kind is Kind.SPECULATIVE
        if is_complete:
            self._speculative = (task, hypothesis)
        self._tell_partial(self._agreement.hear(words, is_complete=is_complete), task.end)

    def _decide(self, answer: Answer) -> Commit | None:
        is_closed = self._stretch is None or self._stretch.closed_at is not None
        return decide(
            answer,
            self._listener.buffer,
            is_full=answer.task.end >= self._window.end,
            n_tries=self._cursor.n_tries,
            has_detector=self._config.vad,
            holds_mark=self._config.hold_punctuation and not is_closed,
        )

    def _commit(self, decision: Commit, task: Task, hypothesis: Hypothesis) -> None:
        n_tries = self._cursor.n_tries + 1
        border, ends_at = decision.border, decision.ends_at
        self._tell_final(decision.words, hypothesis, border, ends_at=ends_at, mark=decision.mark)
        self._move_border(border)
        if decision.breaks_off:
            self._window.restart(border, "")
            self._cursor = replace(self._cursor, n_tries=n_tries)
        else:
            self._tell_partial(self._agreement.hear(decision.rest, is_complete=False), task.end)

    def _tell_partial(self, rest: Sequence[Heard], end: int) -> None:
        if not self._agreement.stable and not any(word.key for word in rest):
            rest = ()  # a mark that may follow the last final, and says nothing
        has_words = bool(rest or self._agreement.stable)
        self._cursor = replace(self._cursor, last_partial=end, has_words=has_words)
        begin = self._cursor.border
        if self._stretch is not None and self._stretch.utterance is not None:
            begin = max(begin, self._stretch.utterance.start)
        self._teller.tell_partial(self._agreement.stable, rest, start=begin, end=end)

    def _tell_final(
        self,
        words: Sequence[Heard],
        hypothesis: Hypothesis | None,
        end: int,
        *,
        ends_at: FinalEnd,
        mark: str = "",
    ) -> None:
        at = self._cursor
        if not words:
            self._cursor = replace(at, mark=mark or at.mark)
            return
        if at.mark and self._window.is_empty:  # its words are heard no more
            words = [Heard(at.mark, at.border, at.border), *words]
        self._cursor = replace(at, mark=mark)
        self._teller.tell_final(
            words, hypothesis, start=at.border, end=end, ends_at=ends_at, mark=mark
        )
        if self._config.use_context:
            self._window.commit(words)
        else:
            self._window.restart(end, "")

    def _confirm_mark(self, end: int) -> None:
        """Nothing followed the mark that was held."""
        at = self._cursor
        if at.mark:
            ends_at: FinalEnd = "speech" if self._stretch is None else "pause"
            mark = Heard(at.mark, at.border, end)
            self._teller.tell_final([mark], None, start=at.border, end=end, ends_at=ends_at)
            self._window.punctuate(at.mark)
            self._cursor = replace(at, mark="")
