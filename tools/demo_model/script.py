"""What the decoder should write for a window: whisper's tokens, and where each of them is heard.

Token ids here are compact: the used text tokens first, then one id that stands for all unused
tokens, then the 1,501 timestamps. `Vocabulary` knows their whisper ids.

Segments: a pause of 0.3 s ends one, and so do two words. Where the window begins with more than a
second without speech, a blank segment (a newline) leads to the first word, because whisper decoding
forbids a first timestamp above 1.00 s.
"""

from dataclasses import dataclass, field
from functools import cache

from whisper.tokenizer import Tokenizer, get_tokenizer

from tools.demo_model.espeak import SpokenWord
from tools.demo_model.words import LANGUAGES, WORDS, Word

SAMPLES_PER_FRAME = 320  # 20 ms: whisper's encoder frame, and its timestamp
N_FRAMES = 1500
PAUSE = 4800  # 0.3 s
MAX_WORDS = 2
BLANK = "\n"
_MAX_FIRST_FRAME = 50  # whisper's max_initial_timestamp, 1.0 s
_FIRST_SIGHT = 640  # 40 ms: a word seen for less than this is left to the next window

Span = tuple[int, int]
NOWHERE: Span = (0, 0)


class Vocabulary:
    """The tokens in use: whisper ids <-> compact ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        texts = [BLANK, *(" " + text for word in WORDS for text in (word.text, word.english))]
        text_ids = {token for text in texts for token in tokenizer.encode(text)}
        languages = [tokenizer.to_language_token(language) for language in LANGUAGES]
        self.used = [
            *sorted(text_ids), tokenizer.eot, tokenizer.sot, *languages, tokenizer.translate,
            tokenizer.transcribe, tokenizer.sot_prev, tokenizer.no_speech, tokenizer.no_timestamps,
        ]  # fmt: skip
        self.unused = len(self.used)
        self.n_text = self.unused + 1
        self.n_vocab = tokenizer.encoding.n_vocab
        self.n_unused = tokenizer.timestamp_begin - len(self.used)
        self.timestamp_begin = tokenizer.timestamp_begin
        self._compact = {token: i for i, token in enumerate(self.used)}
        self.eot = self._compact[tokenizer.eot]
        self.sot = self._compact[tokenizer.sot]
        self.translate = self._compact[tokenizer.translate]
        self.transcribe = self._compact[tokenizer.transcribe]
        self.sot_prev = self._compact[tokenizer.sot_prev]
        self.no_speech = self._compact[tokenizer.no_speech]
        self.no_timestamps = self._compact[tokenizer.no_timestamps]
        self.blank = self.text(BLANK)
        self.first_tokens = [self.text(" " + word.text)[0] for word in WORDS]

    def text(self, text: str) -> list[int]:
        return [self._compact[token] for token in self._tokenizer.encode(text)]

    def language(self, language: str) -> int:
        return self._compact[self._tokenizer.to_language_token(language)]

    def timestamp(self, frame: int) -> int:
        return self.n_text + frame


@cache
def vocabulary() -> Vocabulary:
    return Vocabulary(get_tokenizer(multilingual=True))


@dataclass(frozen=True, slots=True)
class Window:
    """What a window holds, in samples from its start; `first_frame` places it among the 1,500."""

    words: tuple[SpokenWord, ...]
    language: str
    n_samples: int
    first_frame: int = 0

    @property
    def is_full(self) -> bool:
        """It ends where the model's 30 s end, so that speech may go on behind it."""
        return self.first_frame + self.n_samples // SAMPLES_PER_FRAME >= N_FRAMES


@dataclass(frozen=True, slots=True)
class Task:
    translate: bool = False
    timestamps: bool = True
    prompt: tuple[Word, ...] = ()


@dataclass(slots=True)
class Script:
    """One decoder sequence. Per token: its id, and where it is heard, in encoder frames. Learned
    are the language, tokens[sot + 1], and what follows the head, from tokens[n_head] on."""

    tokens: list[int] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    sot: int = 0
    n_head: int = 0
    after_sot: int | None = None  # no-speech, which takes the language's place as the target

    def add(self, tokens: list[int], span: Span = NOWHERE) -> None:
        self.tokens += tokens
        self.spans += [span] * len(tokens)


def segments(words: tuple[SpokenWord, ...]) -> list[list[SpokenWord]]:
    found: list[list[SpokenWord]] = []
    for word in words:
        if found and len(found[-1]) < MAX_WORDS and word.start - found[-1][-1].end < PAUSE:
            found[-1].append(word)
        else:
            found.append([word])
    return found


def write_script(window: Window, task: Task) -> Script:
    script = Script()
    _write_head(script, window, task)
    if not window.words:
        _write_silence(script, window, task)
    elif task.timestamps:
        _write_segments(script, window, task)
    else:
        _write_words(script, _within(window), task)
    script.add([vocabulary().eot])
    return script


def _write_head(script: Script, window: Window, task: Task) -> None:
    ids = vocabulary()
    if task.prompt:
        script.add([ids.sot_prev])
        for word in task.prompt:
            script.add(ids.text(" " + word.text))
    script.sot = len(script.tokens)
    script.add([ids.sot, ids.language(window.language)])
    script.add([ids.translate if task.translate else ids.transcribe])
    if not task.timestamps:
        script.add([ids.no_timestamps])
    script.n_head = len(script.tokens)


def _write_silence(script: Script, window: Window, task: Task) -> None:
    """After `sot` comes no-speech; the forced answer is an empty segment, or a blank."""
    ids = vocabulary()
    script.after_sot = ids.no_speech
    script.add([ids.timestamp(window.first_frame)] if task.timestamps else ids.blank)


def _write_segments(script: Script, window: Window, task: Task) -> None:
    ids = vocabulary()
    groups = segments(window.words)
    first = _frame(groups[0][0].start)
    if first > _MAX_FIRST_FRAME:
        script.add([ids.timestamp(window.first_frame)], (0, 3))
        script.add(ids.blank)
        script.add([ids.timestamp(window.first_frame + first)], (max(0, first - 1), first + 2))
    for group in groups:
        if not _write_segment(script, window, group, task):
            break


def _write_segment(script: Script, window: Window, group: list[SpokenWord], task: Task) -> bool:
    """False where the window cuts the segment: it is only begun, and the next window has it."""
    ids = vocabulary()
    start, end = _frame(group[0].start), _frame(group[-1].end)
    is_cut = group[-1].end > window.n_samples
    if is_cut and window.n_samples - group[0].start < _FIRST_SIGHT:
        return False
    script.add([ids.timestamp(window.first_frame + start)], (max(0, start - 1), start + 2))
    if is_cut:
        return False
    _write_words(script, tuple(group), task)
    script.add([ids.timestamp(window.first_frame + end)], (max(0, end - 2), end + 1))
    return True


def _write_words(script: Script, words: tuple[SpokenWord, ...], task: Task) -> None:
    for spoken in words:
        text = spoken.word.english if task.translate else spoken.word.text
        script.add(vocabulary().text(" " + text), (_frame(spoken.start), _frame(spoken.end)))


def _within(window: Window) -> tuple[SpokenWord, ...]:
    """The words of which the window holds more than 60 %."""
    return tuple(w for w in window.words if w.start + 0.6 * (w.end - w.start) < window.n_samples)


def _frame(sample: int) -> int:
    return round(sample / SAMPLES_PER_FRAME)
