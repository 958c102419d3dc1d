"""Removes hallucinations from hypotheses: loops, stock phrases, text where nobody speaks.

Only where the decode itself is doubtful: real speech repeats words and says "thank you", too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_service.policy.text import normalized, split_words
from whisper_service.types import DecodeOptions, Hypothesis, Segment, Word

_MAX_LOOP_WORDS = 12
"""Words in one copy of a loop, at most: Whisper repeats a sentence, not more."""
_MIN_COPIES = 4
"""Copies in a row that make a loop: people do say three ("no, no, no")."""

_MIN_CONFIDENCE = -1.25
"""Least `avg_logprob - no_speech_prob` of real speech: windows of speech lie above -1.05, text that
base made of noises, tones and clicks below -1.3."""
_MAX_DENSITY = 35
"""Most characters for a second of speech: quick speakers say 20. `_ANY_LENGTH` more are allowed,
except for an echo, which repeats the end of the text before."""
_ANY_LENGTH = 20

STOCK_PHRASES = frozenset(
    normalized(phrase)
    for phrase in (
        *("Thank you.", "Thank you very much.", "Thanks for watching!", "Thank you for watching."),
        *("Thank you so much for watching.", "Please subscribe.", "Like and subscribe!", "you"),
        *("Please subscribe to my channel.", "See you next time.", "Bye.", "Bye bye.", "The end."),
        *("Subtitles by the Amara.org community", "Transcription by CastingWords"),
        *("Untertitel der Amara.org-Community", "Untertitelung des ZDF, 2020", "Vielen Dank."),
        *("Untertitel im Auftrag des ZDF für funk, 2017", "Vielen Dank fürs Zuschauen!"),
        *("Sous-titres réalisés par la communauté d'Amara.org", "Merci d'avoir regardé."),
        *("Merci d'avoir regardé cette vidéo !", "Sous-titrage Société Radio-Canada"),
        *("Subtítulos realizados por la comunidad de Amara.org", "¡Gracias por ver el video!"),
        *("Sottotitoli creati dalla comunità Amara.org", "Legendas pela comunidade Amara.org"),
        *("Продолжение следует...", "Субтитры сделал DimaTorzok", "Спасибо за просмотр!"),
        *(
            "ご視聴ありがとうございました",
            "字幕由Amara.org社区提供",
            "谢谢观看",
            "시청해주셔서 감사합니다.",
        ),
    )
)
"""Whisper writes these where nobody speaks, since videos' subtitles do; known from its issues."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """A hypothesis without hallucinations, and the counts of those removed."""

    hypothesis: Hypothesis
    n_loops: int
    n_phrases: int


def filter_hypothesis(
    hypothesis: Hypothesis, options: DecodeOptions, *, speech_seconds: float, before: str = ""
) -> Filtered:
    """Remove all hallucinations from the hypothesis of a window with `speech_seconds` of speech.

    `before`: the text before the window's own.
    """
    filtered = without_hallucinations(hypothesis, options)
    if is_hallucination(filtered.hypothesis, options, speech_seconds, before):
        return replace(filtered, hypothesis=replace(filtered.hypothesis, segments=()))
    return filtered


def without_hallucinations(hypothesis: Hypothesis, options: DecodeOptions) -> Filtered:
    """Remove stock phrases and the copies of loops; a threshold of None switches its rule off."""
    kept = [s for s in hypothesis.segments if not _is_stock_phrase(s, options)]
    n_phrases = len(hypothesis.segments) - len(kept)
    n_loops = 0
    if any(_is_repetitive(segment, options) for segment in kept):
        kept, n_loops = _without_loops(kept)
    if not n_phrases and not n_loops:
        return Filtered(hypothesis, 0, 0)
    return Filtered(replace(hypothesis, segments=tuple(kept)), n_loops, n_phrases)


def is_hallucination(
    hypothesis: Hypothesis, options: DecodeOptions, speech_seconds: float, before: str = ""
) -> bool:
    """Whether a window's whole text is a hallucination.

    It is if the decode itself finds it improbable, or if nobody can say so much in
    `speech_seconds`. `before` is the text before it, of which it may be an echo. A threshold of
    None switches the rule off.
    """
    if options.logprob_threshold is None or options.no_speech_threshold is None:
        return False
    segments = hypothesis.segments
    confidence = min((s.avg_logprob - s.no_speech_prob for s in segments), default=0.0)
    text = "".join(segment.text for segment in segments)
    longest = _MAX_DENSITY * speech_seconds
    if not normalized(before).endswith(normalized(text)):
        longest += _ANY_LENGTH
    return confidence < _MIN_CONFIDENCE or len(text) > longest


def _is_repetitive(segment: Segment, options: DecodeOptions) -> bool:
    limit = options.compression_ratio_threshold
    return limit is not None and segment.compression_ratio > limit


def _is_stock_phrase(segment: Segment, options: DecodeOptions) -> bool:
    silent, improbable = options.no_speech_threshold, options.logprob_threshold
    is_doubtful = (silent is not None and segment.no_speech_prob > silent) or (
        improbable is not None and segment.avg_logprob < improbable
    )
    return is_doubtful and normalized(segment.text) in STOCK_PHRASES


@dataclass(frozen=True, slots=True)
class _LoopWord:
    """A word and the index of its segment: a loop may cover several segments."""

    index: int
    word: Word
    key: str


def _without_loops(segments: Sequence[Segment]) -> tuple[list[Segment], int]:
    kept_words, n_loops = _collapse(
        [
            _LoopWord(index, word, normalized(word.text))
            for index, segment in enumerate(segments)
            for word in segment.words or _untimed(segment)
        ]
    )
    kept = []
    for index, segment in enumerate(segments):
        words = tuple(each.word for each in kept_words if each.index == index)
        if words:
            end = max(segment.end, words[-1].end)
            text = "".join(word.text for word in words)
            kept.append(replace(segment, text=text, words=words if segment.words else (), end=end))
    return kept, n_loops


def _untimed(segment: Segment) -> list[Word]:
    return [Word(text, segment.start, segment.end, 1.0) for text in split_words(segment.text)]


def _collapse(words: list[_LoopWord]) -> tuple[list[_LoopWord], int]:
    """Keep the first copy of each loop, and count the loops.

    The copy lasts until the last one ends: all of that audio is covered, or it would be decoded
    again and loop again.
    """
    kept: list[_LoopWord] = []
    n_loops, at = 0, 0
    while at < len(words):
        length, copies = _loop_at(words, at)
        if copies < _MIN_COPIES:
            kept.append(words[at])
            at += 1
            continue
        n_loops += 1
        body = words[at : at + length]
        at += length * copies
        last = body[-1]
        kept += body[:-1]
        kept.append(replace(last, word=replace(last.word, end=words[at - 1].word.end)))
    return kept, n_loops


def _loop_at(words: Sequence[_LoopWord], at: int) -> tuple[int, int]:
    """Return the length and number of the copies at `at`, for the shortest copy that loops."""
    keys = [each.key for each in words[at:]]
    for length in range(1, min(_MAX_LOOP_WORDS, len(keys) // _MIN_COPIES) + 1):
        copies = 1
        while keys[copies * length : (copies + 1) * length] == keys[:length]:
            copies += 1
        if copies >= _MIN_COPIES:
            return length, copies
    return 1, 1
