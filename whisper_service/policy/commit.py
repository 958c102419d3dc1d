"""What of a decode's answer is final, and up to where: a decision, which the plan carries out.

Pure: an answer in, a `Commit` or None out. Owns the rules for what what follows may still change,
and for decodes that break off long before the speech does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_service.audio.buffer import AudioBuffer
from whisper_service.policy import energy, punctuation
from whisper_service.policy.agreement import Heard
from whisper_service.policy.border import border_after, count_final
from whisper_service.policy.events import FinalEnd
from whisper_service.policy.hearing import heard_words
from whisper_service.policy.task import Kind, Task
from whisper_service.types import SAMPLE_RATE, Hypothesis

_LEAST = SAMPLE_RATE // 5
"""200 ms, a short word: a border that moves by less would say less of a whole word or two."""
_UNCOVERED = SAMPLE_RATE
"""1 s of speech after a decode's last word holds a word or two; less is breath and reverb."""
_UNHEARD = SAMPLE_RATE // 2
"""0.5 s of speech of which no word was heard is heard again, without what may hide it."""
_MAX_TRIES = 4
"""Decodes of a stretch that may break off, one after the other."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A decode's words after the border, those first that were told to be stable."""

    task: Task
    words: Sequence[Heard]
    n_stable: int
    """How many of `words` were told to be stable."""


@dataclass(frozen=True, slots=True)
class Commit:
    """`words` are final, and all audio before `border` with them."""

    words: Sequence[Heard]
    border: int
    ends_at: FinalEnd
    rest: Sequence[Heard] = ()
    """Words after the border, which are not final."""
    mark: str = ""
    """Punctuation after `words` that waits for what follows."""
    breaks_off: bool = False
    """What follows is decoded anew, with nothing of what came before."""


def new_words(task: Task, hypothesis: Hypothesis) -> list[Heard]:
    """Return the words after the window's prefix; a mark that it has is not told again."""
    words = heard_words(hypothesis, task.begin, task.end)
    if not words or not punctuation.is_marked(task.job.prefix):
        return words
    first = replace(words[0], text=punctuation.without_leading(words[0].text))
    return [first, *words[1:]] if first.text.strip() else words[1:]


def decide(
    answer: Answer,
    buffer: AudioBuffer,
    *,
    is_full: bool,
    n_tries: int,
    has_detector: bool,
    holds_mark: bool,
) -> Commit | None:
    """Return what is final of the answer to a task that asked for it; None: wait for more.

    `is_full`: the window holds no more. `n_tries`: decodes before it that broke off.
    `has_detector`: pauses are told. `holds_mark`: what follows may change the last mark.
    """
    if answer.task.kind is not Kind.WORDS:
        ends_at: FinalEnd = "speech" if answer.task.kind is Kind.LAST else "pause"
        whole = _break_off(answer, buffer, n_tries)
        whole = whole or Commit(answer.words, answer.task.end, ends_at)
        is_new = len(whole.words) > answer.n_stable
        return _hold_mark(whole) if holds_mark and is_new and not whole.breaks_off else whole
    commit = _commit_words(answer, buffer, has_detector=has_detector)
    if commit.border >= answer.task.border + _LEAST:
        return commit
    if not is_full:
        return None
    whole = Commit(answer.words, answer.task.end, "words")
    return _break_off(answer, buffer, n_tries) or whole


def _commit_words(answer: Answer, buffer: AudioBuffer, *, has_detector: bool) -> Commit:
    """Make final what cannot change."""
    task, words = answer.task, answer.words
    if not has_detector and _ends_quietly(task):
        return Commit(words, task.end, "pause")
    n_final = max(count_final(words, task.end), answer.n_stable)
    border = border_after(words, n_final, buffer, begin=task.border, end=task.end)
    return Commit(words[:n_final], border, "words", rest=words[n_final:])


def _ends_quietly(task: Task) -> bool:
    """Whether a pause is at its end."""
    pauses = energy.pauses(task.job.audio, at_least=energy.BREATH)
    return bool(pauses) and len(task.job.audio) - pauses[-1][1] < energy.HOP


def _break_off(answer: Answer, buffer: AudioBuffer, n_tries: int) -> Commit | None:
    """If the decode ended long before the speech did, make final what it has."""
    task, words = answer.task, answer.words
    if n_tries >= _MAX_TRIES or not _has_speech_after(task, words):
        return None
    border = border_after(words, len(words), buffer, begin=task.border, end=task.end)
    if words and border < task.border + _LEAST:
        return None
    return Commit(words, border, "words", breaks_off=True)


def _has_speech_after(task: Task, words: Sequence[Heard]) -> bool:
    """Tell a decode after whose words there is more speech, if it is worth another."""
    if not words and not task.job.previous_text and not task.job.prefix:
        return False  # no word is there
    heard = max(task.border, words[-1].end if words else 0)
    loud = energy.speech_like(task.job.audio)[(heard - task.begin) // energy.HOP :]
    least = _UNCOVERED if any(word.key for word in words) else _UNHEARD
    return int(loud.sum()) * energy.HOP > least


def _hold_mark(commit: Commit) -> Commit:
    """Take the mark off the last word."""
    words, mark = list(commit.words), ""
    while words:
        last = words.pop()
        body, found = punctuation.split_trailing(last.text)
        mark = found or mark
        if body.strip():
            return replace(commit, words=[*words, replace(last, text=body)], mark=mark)
    return replace(commit, words=(), mark=mark)
