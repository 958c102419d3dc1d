"""A live stream's plan: what to decode next, and hypotheses as partials and finals.

Owns the contract of `/stream`: finals in order that are never taken back and cover all speech,
partials whose stable part only grows, borders that cut no word. It refuses to know the time, the
engine and the socket: two seconds of samples are two seconds. `Listener` hears, `Agenda` says what
to decode, `Reader` what answers become; this moves on from one stretch of speech to the next. What
it promises in detail:

- The finals' texts followed by the last partial's `stable` only ever grow. Where the decode of a
  final disagrees with words already told to be stable, the stable words win.
- With a decoder that keeps up, all events depend on the audio alone, not on how it was cut on its
  way here: the plan hears it frame by frame and asks for a job as soon as one is due. What comes in
  while a job is in flight is heard at once, so the next job covers it: that sheds load.
- After `stop`, everything that was received is final before `Done`.
"""

from dataclasses import replace

from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy.agenda import Agenda
from whisper_service.policy.endpoint import VadOptions
from whisper_service.policy.events import Event, SpeechEnded, SpeechStarted, StreamState
from whisper_service.policy.hallucination import without_hallucinations
from whisper_service.policy.listener import Listener
from whisper_service.policy.progress import NOTHING, Progress
from whisper_service.policy.reader import Reader
from whisper_service.policy.stretch import Stretch
from whisper_service.policy.task import Kind, Task
from whisper_service.policy.teller import Teller
from whisper_service.types import SAMPLE_RATE, Audio, DecodeJob, Hypothesis, StreamConfig


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
        self._chunk = round(config.chunk_duration * SAMPLE_RATE)
        self._overlap = round(config.overlap * SAMPLE_RATE)
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
        self._at = Progress(state.offset)
        parts = config, self._listener, self._at, self._teller
        self._agenda = Agenda(*parts)
        self._reader = Reader(*parts)
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
        if not self._listener.stretches or self._at.resumes_at() is None:
            return 0.0
        begin = max(self._at.border, self._at.attempted, self._listener.stretches[0].begin)
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
        return self._in_flight is not None and self._agenda.is_overtaken(self._in_flight)

    def abandon(self, job: DecodeJob) -> None:
        """Give up a job that failed or was overtaken; the next one covers its audio, and what
        came since."""
        self._take_in_flight(job)

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the answer to the job in flight; raises ValueError for any other."""
        task = self._take_in_flight(job)
        filtered = without_hallucinations(hypothesis, job.options)
        self.n_loops += filtered.n_loops
        self.n_phrases += filtered.n_phrases
        self._reader.use(task, filtered.hypothesis)
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
            task = self._agenda.next_task()
            if task is not None or not self._listener.step():
                break
        self._listener.discard_before(max(self._at.border - self._overlap, 0))
        if self._is_stopped and not self._listener.stretches and not self.is_done:
            self.is_done = True
            self._teller.tell_done(self.received)
        return task

    def _move_on(self) -> bool:
        """Leave behind a stretch that is final, or silence; return whether there was any."""
        if self._at.stretch is None:
            return self._begin_stretch()
        end = self._at.stretch.end(self._vad)
        if end is not None and end <= self._agenda.reach():
            if self._has_nothing_left(self._at.stretch, end):
                self._end_stretch(self._at.stretch, end)
                return True
            return self._commit_speculative(end)
        resumes_at = self._at.resumes_at()
        if resumes_at is not None and resumes_at - self._vad.pad_before > self._at.border:
            self._at.move_border(resumes_at - self._vad.pad_before, lead=0)
            return True
        if self._agenda.is_due() and self._agenda.is_silent(self._agenda.reach()):
            self._at.move_border(self._agenda.reach(), lead=0)
            return True
        return False

    def _begin_stretch(self) -> bool:
        if not self._listener.stretches:
            return False
        stretch = self._at.stretch = self._listener.stretches[0]
        self._at.move_border(max(self._at.border, stretch.begin), lead=0)
        if stretch.utterance is not None:
            self._at.last_partial = max(self._at.border, stretch.utterance.start)
            if stretch.is_first:
                self._teller.tell(SpeechStarted(stretch.utterance.start / SAMPLE_RATE))
        return True

    def _end_stretch(self, stretch: Stretch, end: int) -> None:
        utterance = stretch.utterance
        self._reader.leave(end)
        self._at.stretch = None
        self._at.border = max(self._at.border, end)
        self._listener.pop(self._at.border)
        is_last = not self._listener.stretches or (
            self._listener.stretches[0].utterance is not utterance
        )
        if utterance is not None and is_last:
            speech_end = utterance.silent_since
            at = self._listener.received if speech_end is None else speech_end
            self._teller.tell(SpeechEnded(at / SAMPLE_RATE))

    def _has_nothing_left(self, stretch: Stretch, end: int) -> bool:
        """Tell whether what is left of a stretch holds no word."""
        if end <= self._at.border or self._agenda.is_silent(end):
            return True
        is_echo = stretch.speech_end() - self._at.border <= NOTHING
        return is_echo and self._at.border > stretch.begin

    def _commit_speculative(self, end: int) -> bool:
        """Make the decode up to the pause that became the end the final, if there was one."""
        if self._at.speculative is None:
            return False
        task, hypothesis = self._at.speculative
        wanted = self._agenda.task(Kind.LAST, end)
        if (task.begin, task.end) != (wanted.begin, wanted.end):
            return False
        if task.job.previous_text != wanted.job.previous_text:
            return False
        if task.job.options.timestamps != wanted.job.options.timestamps:
            return False
        self._reader.use(replace(task, kind=Kind.LAST), hypothesis)
        return True
