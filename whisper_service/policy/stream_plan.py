"""A live stream's plan: which window to decode next, and hypotheses as partials and finals.

Owns the contract of `/stream`: finals that come in order, are never taken back and cover all
speech, and partials whose stable part only grows. Knows no clock, engine or socket: time is counted
in samples.

    ┌─────────┐ chunk begins  ┌────────────┐ pause begins   ┌─────────────┐
    │ silence │──────────────▶│   speech   │───────────────▶│    pause    │
    │         │               │  PARTIAL   │◀───────────────│ SPECULATIVE │
    └─────────┘               └────────────┘  speech again  └─────────────┘
         ▲                      │        ▲                    │         │
         │            chunk_    │        │ committed          │ chunk_  │ endpoint_silence,
         │            duration  ▼        │                    ▼ duration│ finalize, stop
         │                    ┌────────────┐                ┌───────┐   ▼
         │                    │ forced cut │                │ PAUSE │ ┌──────────┐
         │                    │   FORCED   │                └───────┘ │ ENDPOINT │
         │                    └────────────┘                          └──────────┘
         └───────────────────────────── all of the chunk is final ─────────┘

Names in capitals are the purposes of windows (planned_window.py). `SpeechSegmenter` finds chunks of
speech; `SentenceWindow` is the audio of the next decode; `LiveState` says what to decode next;
`Agreement` says which words are stable; `decide` says which become final. They decide, and only
this file changes the stream's state.

- The texts of the finals followed by the last partial's `stable` only ever grow. Where the decode
  for a final disagrees with stable words, the stable words win.
- With a decoder that keeps up, all events depend on the audio alone, not on the sizes of its
  messages: the plan processes one frame after the other and asks for a job as soon as one is due.
  Audio that comes in while a job is in flight is processed at once, so that the next job covers it:
  that sheds load.
- After `stop`, everything that was received is final before `Done`.
"""

from collections.abc import Sequence
from dataclasses import replace

from whisper_service.audio.vad import SpeechDetector
from whisper_service.policy import energy
from whisper_service.policy.agreement import Agreement
from whisper_service.policy.commit import Commit, NewWords, decide
from whisper_service.policy.cursor import Cursor
from whisper_service.policy.event_log import EventLog
from whisper_service.policy.hallucination import filter_hypothesis
from whisper_service.policy.live_state import (
    MAX_PAUSE,
    NEGLIGIBLE_SPEECH,
    LiveState,
    StreamLimits,
)
from whisper_service.policy.planned_window import PlannedWindow, Purpose, decode_options
from whisper_service.policy.sentence_window import SentenceWindow
from whisper_service.policy.speech_chunk import SpeechChunk
from whisper_service.policy.speech_segmenter import SpeechSegmenter
from whisper_service.policy.stream_events import (
    Event,
    FinalEnd,
    SpeechEnded,
    SpeechStarted,
    StreamState,
)
from whisper_service.policy.timed_words import TimedWord
from whisper_service.types import (
    SAMPLE_RATE,
    SILENT_PADDING,
    Audio,
    DecodeJob,
    Hypothesis,
    StreamConfig,
)

_MAX_MARK_HOLD = 2 * SAMPLE_RATE
"""2 s: after a silence this long a sentence is over, whatever follows."""


class StreamPlan:
    """Push audio; send `next_job` until it is None; pass on its hypotheses; take `events`."""

    def __init__(
        self,
        config: StreamConfig,
        *,
        detector: SpeechDetector | None,
        resume: StreamState | None = None,
    ) -> None:
        """`resume`: the state of the last final, after which the stream goes on."""
        decode = config.decode
        state = resume or StreamState(0, 0, None, 0.0, "")
        if state.language is None and decode.language is not None:
            state = replace(state, language=decode.language, language_probability=1.0)
        self._config = config
        self._limits = StreamLimits.of(config)
        self._segmenter = SpeechSegmenter(
            detector if config.vad else None,
            endpoint_silence=config.endpoint_silence,
            vad=self._limits.vad,
            position=state.offset,
        )
        self._log = EventLog(
            state,
            has_words=decode.timestamps == "word",
            has_partials=config.partial_interval > 0,
        )
        self._window = SentenceWindow(
            state.offset,
            state.context,
            chunk=self._limits.chunk_duration,
            overlap=round(config.overlap * SAMPLE_RATE),
        )
        self._agreement = Agreement()
        self._chunk: SpeechChunk | None = None
        self._cursor = Cursor.at(state.offset, state.mark)
        self._speculative: tuple[PlannedWindow, Hypothesis] | None = None
        """The decode up to the current pause: the final, if that pause becomes the end."""
        self._due: tuple[Purpose, int] | None = None
        """The purpose and the end of the window to decode next."""
        self._in_flight: PlannedWindow | None = None
        self._is_stopped = False
        self.is_done = False
        self.n_loops = 0
        """Loops of the decoder that were dropped."""
        self.n_phrases = 0
        """Stock phrases that were dropped."""

    @property
    def received(self) -> float:
        """Seconds of audio received, on the stream's own clock."""
        return self._segmenter.received / SAMPLE_RATE

    @property
    def backlog(self) -> float:
        """Seconds of speech that wait for a final longer than `chunk_duration` allows."""
        chunks = self._segmenter.chunks
        return self._live.backlog(self._segmenter.received, chunks[0].begin) if chunks else 0.0

    def receive_audio(self, samples: Audio) -> None:
        """Take the next samples, float32 [n]; raises ValueError after `stop`."""
        if self._is_stopped:
            raise ValueError("the stream was stopped; it takes no more audio")
        self._segmenter.receive(samples)
        if self._in_flight is not None:
            self._process_all()
        self._advance()

    def finalize(self) -> None:
        """Make all speech received so far final as soon as possible, and go on."""
        if not self._is_stopped:
            self._process_all()
            self._segmenter.close()
            self._advance()

    def stop(self) -> None:
        """Make everything final; `Done` comes after the last job's hypothesis."""
        if not self._is_stopped:
            self._is_stopped = True
            self._segmenter.end()
            self._advance()

    def next_job(self) -> DecodeJob | None:
        """Return the job to send now; None if one is in flight or nothing is due."""
        if self._in_flight is not None or self._due is None:
            return None
        self._in_flight = self._plan(*self._due)
        self._due = None
        return self._in_flight.job

    @property
    def is_superseded(self) -> bool:
        """Whether the job in flight is a partial for which a final waits.

        Its hypothesis would be out of date: `abandon` it, and ask for the next job.
        """
        planned = self._in_flight
        is_partial = planned is not None and planned.purpose is Purpose.PARTIAL
        return is_partial and self._live.is_final_due

    def abandon(self, job: DecodeJob) -> None:
        """Give up a job that failed or was superseded; the next one covers its audio, too."""
        self._take_in_flight(job)
        self._advance()

    def receive_hypothesis(self, job: DecodeJob, hypothesis: Hypothesis) -> None:
        """Take the hypothesis of the job in flight; raises ValueError for any other job."""
        planned = self._take_in_flight(job)
        filtered = filter_hypothesis(
            hypothesis,
            job.options,
            speech_seconds=(planned.end - planned.committed) / SAMPLE_RATE,
            before=job.previous_text + job.prefix,
        )
        self.n_loops += filtered.n_loops
        self.n_phrases += filtered.n_phrases
        self._apply(planned, filtered.hypothesis)
        self._advance()

    def events(self) -> list[Event]:
        """Return the events since the last call."""
        return self._log.drain()

    def _take_in_flight(self, job: DecodeJob) -> PlannedWindow:
        planned = self._in_flight
        if planned is None or planned.job.audio is not job.audio:
            raise ValueError("this job is not the one in flight")
        self._in_flight = None
        return planned

    @property
    def _live(self) -> LiveState:
        processed, window_end = self._segmenter.processed, self._window.end
        return LiveState(self._limits, self._cursor, self._chunk, processed, window_end)

    # --- transitions that need no decode

    def _process_all(self) -> None:
        while self._segmenter.step():
            pass

    def _advance(self) -> None:
        """Process frames until a window is due or more audio must come."""
        self._due = None
        while self._in_flight is None:
            if self._move_on():
                continue
            self._due = self._next_window()
            if self._due is not None or not self._segmenter.step():
                break
        is_open = self._chunk is not None or not self._window.is_empty
        self._segmenter.discard_before(self._window.begin if is_open else None)
        if self._is_stopped and not self._segmenter.chunks and not self.is_done:
            self.is_done = True
            self._log.emit_done(self.received)

    def _move_on(self) -> bool:
        """Make one transition that needs no decode; return whether there was one."""
        if self._chunk is None:
            return self._leave_silence() or self._begin_chunk()
        live = self._live
        if live.chunk_end is not None and live.is_at_endpoint:
            if self._has_nothing_left(self._chunk, live.chunk_end):
                self._end_chunk(self._chunk, live.chunk_end)
                return True
            return self._commit_speculative(Purpose.ENDPOINT, live.chunk_end)
        if live.new_begin is not None:
            self._confirm_mark(live.new_begin)
            self._begin_window(live.new_begin)
            return True
        if not live.is_due:
            return False
        if self._is_silent(live.reach):
            self._begin_window(live.reach)
            return True
        pause_end = live.pause_end
        return pause_end is not None and self._commit_speculative(Purpose.PAUSE, pause_end)

    def _leave_silence(self) -> bool:
        """End the sentence after some silence, and a while later forget its audio."""
        chunks = self._segmenter.chunks
        until = chunks[0].begin if chunks else self._segmenter.processed
        silence = until - self._cursor.committed
        has_ended = silence >= _MAX_MARK_HOLD or (self._is_stopped and not chunks)
        if self._cursor.mark and has_ended:
            self._confirm_mark(until)
            return True
        if not self._window.is_empty and silence > MAX_PAUSE:
            self._window.restart(self._cursor.committed, self._log.context)
            return True
        return False

    def _begin_chunk(self) -> bool:
        if not self._segmenter.chunks:
            return False
        chunk = self._chunk = self._segmenter.chunks[0]
        begin = max(self._cursor.committed, chunk.begin)
        if self._window.is_empty:
            self._window.restart(begin, self._log.context)
        self._commit_until(begin)
        if chunk.utterance is not None:
            speech_start = max(begin, chunk.utterance.start)
            self._cursor = replace(self._cursor, last_partial=speech_start)
            if chunk.is_first:
                self._log.emit(SpeechStarted(chunk.utterance.start / SAMPLE_RATE))
        return True

    def _begin_window(self, begin: int) -> None:
        """Begin a window without the audio before `begin`, all of which becomes final."""
        self._emit_final(self._agreement.stable, None, begin, ends_at="pause")
        self._window.restart(begin, self._log.context)
        self._commit_until(begin)

    def _end_chunk(self, chunk: SpeechChunk, end: int) -> None:
        utterance = chunk.utterance
        end = max(self._cursor.committed, end)
        self._emit_final(self._agreement.stable, None, end, ends_at="speech")
        self._commit_until(end)
        self._chunk = None
        self._segmenter.pop(self._cursor.committed)
        chunks = self._segmenter.chunks
        is_last = not chunks or chunks[0].utterance is not utterance
        if utterance is not None and is_last:
            speech_end = utterance.silent_since
            at = self._segmenter.received if speech_end is None else speech_end
            self._log.emit(SpeechEnded(at / SAMPLE_RATE))

    def _has_nothing_left(self, chunk: SpeechChunk, end: int) -> bool:
        """Whether the rest of a chunk that ends at `end` holds no word."""
        committed = self._cursor.committed
        if end <= committed or self._is_silent(end):
            return True
        is_negligible = chunk.speech_end() - committed <= NEGLIGIBLE_SPEECH
        return is_negligible and committed > chunk.begin

    def _is_silent(self, end: int) -> bool:
        begin = min(self._cursor.committed, end)
        return energy.is_silent(self._segmenter.buffer.slice(begin, end))

    def _commit_speculative(self, purpose: Purpose, end: int) -> bool:
        """Make the decode up to the pause at `end` the final, if it is of this window."""
        if self._speculative is None:
            return False
        planned, hypothesis = self._speculative
        was = planned.begin, planned.end, planned.job.prefix, planned.committed
        if was != (self._window.begin, end, self._window.prefix, self._cursor.committed):
            return False
        self._apply(replace(planned, purpose=purpose), hypothesis)
        return True

    def _commit_until(self, position: int) -> None:
        self._cursor = self._cursor.commit(position)
        self._agreement.clear()
        self._speculative = None
        if self._chunk is not None and self._chunk.utterance is not None:
            self._chunk.utterance.forget_before(position)

    # --- windows to decode

    def _next_window(self) -> tuple[Purpose, int] | None:
        if self._chunk is None:
            return None
        self._window.trim(self._live.reach, self._cursor.committed, self._segmenter.buffer)
        due = self._live.next_window()
        if due is None:
            return None
        purpose, end = due
        if purpose is Purpose.SPECULATIVE and self._speculative is not None:
            return None if self._speculative[0].end == end else due
        if purpose is Purpose.PARTIAL and self._is_silent(end):
            return None
        return due

    def _plan(self, purpose: Purpose, end: int) -> PlannedWindow:
        # Context is the most frequent reason why Whisper ends too early.
        has_context = self._config.use_context and not self._cursor.n_truncated
        job = DecodeJob(
            self._segmenter.buffer.slice(self._window.begin, end),
            decode_options(
                purpose,
                self._config.decode,
                language=self._log.language.known,
                has_word_times=self._limits.has_word_times,
            ),
            self._window.context if has_context else "",
            prefix=self._window.prefix,
            draft=self._agreement.text,
            padding=SILENT_PADDING,
            priority="live" if purpose is Purpose.PARTIAL else "final",
        )
        begin, committed = self._window.begin, self._cursor.committed
        return PlannedWindow(purpose, begin, committed, end, self._segmenter.received, job)

    # --- hypotheses

    def _apply(self, planned: PlannedWindow, hypothesis: Hypothesis) -> None:
        """Emit the words of a hypothesis, and commit those that are final."""
        words = planned.new_words(hypothesis)
        if planned.purpose in (Purpose.PARTIAL, Purpose.SPECULATIVE):
            self._apply_partial(planned, hypothesis, words)
            return
        if planned.purpose is Purpose.FORCED:
            self._agreement.update(words, is_complete=False)
        n_stable = len(self._agreement.stable)
        words = self._agreement.merge(words)
        is_closed = self._chunk is None or self._chunk.closed_at is not None
        commit = decide(
            NewWords(planned, words, n_stable),
            self._segmenter.buffer,
            is_full=planned.end >= self._window.end,
            n_truncated=self._cursor.n_truncated,
            has_detector=self._config.vad,
            holds_mark=self._config.hold_punctuation and not is_closed,
        )
        if commit is not None:
            self._apply_commit(commit, planned, hypothesis)
        else:
            self._cursor = replace(self._cursor, attempted=planned.end)
            self._emit_partial(words[n_stable:], planned.end)

    def _apply_partial(
        self, planned: PlannedWindow, hypothesis: Hypothesis, words: Sequence[TimedWord]
    ) -> None:
        # The audio received meanwhile is the time that the decode took. A pause as long leaves the
        # engine half of its time for finals, however many streams there are.
        backoff_until = planned.end + 2 * (self._segmenter.received - planned.received)
        self._cursor = replace(self._cursor, backoff_until=backoff_until)
        is_complete = planned.purpose is Purpose.SPECULATIVE
        if is_complete:
            self._speculative = (planned, hypothesis)
        self._emit_partial(self._agreement.update(words, is_complete=is_complete), planned.end)

    def _apply_commit(self, commit: Commit, planned: PlannedWindow, hypothesis: Hypothesis) -> None:
        n_truncated = self._cursor.n_truncated + 1
        self._emit_final(
            commit.words, hypothesis, commit.until, ends_at=commit.ends_at, mark=commit.mark
        )
        self._commit_until(commit.until)
        if commit.is_truncated:
            self._window.restart(commit.until, "")
            self._cursor = replace(self._cursor, n_truncated=n_truncated)
        else:
            self._emit_partial(self._agreement.update(commit.rest, is_complete=False), planned.end)

    def _emit_partial(self, rest: Sequence[TimedWord], end: int) -> None:
        if not self._agreement.stable and not any(word.key for word in rest):
            rest = ()  # punctuation that may follow the last final is no partial of its own
        has_partial = bool(rest or self._agreement.stable)
        self._cursor = replace(self._cursor, last_partial=end, has_partial=has_partial)
        begin = self._cursor.committed
        if self._chunk is not None and self._chunk.utterance is not None:
            begin = max(begin, self._chunk.utterance.start)
        self._log.emit_partial(self._agreement.stable, rest, start=begin, end=end)

    def _emit_final(
        self,
        words: Sequence[TimedWord],
        hypothesis: Hypothesis | None,
        end: int,
        *,
        ends_at: FinalEnd,
        mark: str = "",
    ) -> None:
        start, held = self._cursor.committed, self._cursor.mark
        self._cursor = replace(self._cursor, mark=mark if words else mark or held)
        if not words:
            return
        if held and self._window.is_empty:  # the next decode cannot repeat the mark
            words = [TimedWord(held, start, start), *words]
        self._log.emit_final(words, hypothesis, start=start, end=end, ends_at=ends_at, mark=mark)
        if self._config.use_context:
            self._window.commit(words)
        else:
            self._window.restart(end, "")

    def _confirm_mark(self, end: int) -> None:
        """Emit the held punctuation as a final of its own: no words followed it before `end`."""
        start, mark = self._cursor.committed, self._cursor.mark
        if mark:
            ends_at: FinalEnd = "speech" if self._chunk is None else "pause"
            word = TimedWord(mark, start, end)
            self._log.emit_final([word], None, start=start, end=end, ends_at=ends_at)
            self._window.punctuate(mark)
            self._cursor = replace(self._cursor, mark="")
