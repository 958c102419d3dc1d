"""What Whisper makes up, taken out of hypotheses: loops, phrases out of noise, text of no speech.

Only where the decode itself is in doubt: real speech repeats words and says "thank you", too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_service.policy.agreement import spelling, split_words
from whisper_service.types import DecodeOptions, Hypothesis, Segment, Word

_LONGEST = 12
"""Words of a phrase that is looked for as a loop's body; Whisper repeats a sentence at the most."""
_COPIES = 4
"""As many in a row are a loop: three are still said ("no, no, no"), and the decode, which its
compression ratio says is repetitive, must get its ratio from somewhere."""

_LEAST_CONFIDENCE = -1.25
"""Mean log-probability less the probability of no speech. Of a thousand windows of real speech,
clean, noisy and over the telephone, base and tiny.en had none below -1.05; of what base wrote for
noises, tones and clicks nothing was above -1.3."""
_DENSEST = 35
"""Characters a second of speech: quick speakers say 20. `_ANY_LENGTH` more are allowed, but not for
an echo, which says again how what was said before ends."""
_ANY_LENGTH = 20

STOCK_PHRASES = frozenset(
    spelling(phrase)
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
"""What the subtitles of videos taught Whisper to say where nobody speaks; known from its issues."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """A hypothesis without what was made up, and how much that was."""

    hypothesis: Hypothesis
    n_loops: int
    n_phrases: int


def without_hallucinations(hypothesis: Hypothesis, options: DecodeOptions) -> Filtered:
    """Drop stock phrases and the copies of loops; thresholds that are None switch it off."""
    kept = [s for s in hypothesis.segments if not _is_stock_phrase(s, options)]
    n_phrases = len(hypothesis.segments) - len(kept)
    n_loops = 0
    if any(_is_repetitive(segment, options) for segment in kept):
        kept, n_loops = _without_loops(kept)
    if not n_phrases and not n_loops:
        return Filtered(hypothesis, 0, 0)
    return Filtered(replace(hypothesis, segments=tuple(kept)), n_loops, n_phrases)


def is_invented(
    hypothesis: Hypothesis, options: DecodeOptions, speech_seconds: float, before: str = ""
) -> bool:
    """Whether a window's whole text is made up: the decode does not believe in it, whatever the
    temperature, or so much cannot be said in `speech_seconds` after the text `before`.

    Thresholds that are None switch it off.
    """
    if options.logprob_threshold is None or options.no_speech_threshold is None:
        return False
    segments = hypothesis.segments
    confidence = min((s.avg_logprob - s.no_speech_prob for s in segments), default=0.0)
    text = "".join(segment.text for segment in segments)
    longest = _DENSEST * speech_seconds
    if not spelling(before).endswith(spelling(text)):
        longest += _ANY_LENGTH
    return confidence < _LEAST_CONFIDENCE or len(text) > longest


def _is_repetitive(segment: Segment, options: DecodeOptions) -> bool:
    limit = options.compression_ratio_threshold
    return limit is not None and segment.compression_ratio > limit


def _is_stock_phrase(segment: Segment, options: DecodeOptions) -> bool:
    silent, improbable = options.no_speech_threshold, options.logprob_threshold
    is_doubtful = (silent is not None and segment.no_speech_prob > silent) or (
        improbable is not None and segment.avg_logprob < improbable
    )
    return is_doubtful and spelling(segment.text) in STOCK_PHRASES


@dataclass(frozen=True, slots=True)
class _Said:
    """A word and the segment it is from, which loops run across."""

    index: int
    word: Word
    key: str


def _without_loops(segments: Sequence[Segment]) -> tuple[list[Segment], int]:
    said, n_loops = _collapse(
        [
            _Said(index, word, spelling(word.text))
            for index, segment in enumerate(segments)
            for word in segment.words or _untimed(segment)
        ]
    )
    kept = []
    for index, segment in enumerate(segments):
        words = tuple(each.word for each in said if each.index == index)
        if words:
            end = max(segment.end, words[-1].end)
            text = "".join(word.text for word in words)
            kept.append(replace(segment, text=text, words=words if segment.words else (), end=end))
    return kept, n_loops


def _untimed(segment: Segment) -> list[Word]:
    return [Word(text, segment.start, segment.end, 1.0) for text in split_words(segment.text)]


def _collapse(said: list[_Said]) -> tuple[list[_Said], int]:
    """Keep the first copy of each loop; it lasts until the last one ends, so that all of that
    audio is done with, and is not heard again to the same end."""
    kept: list[_Said] = []
    n_loops, at = 0, 0
    while at < len(said):
        length, copies = _loop_at(said, at)
        if copies < _COPIES:
            kept.append(said[at])
            at += 1
            continue
        n_loops += 1
        body = said[at : at + length]
        at += length * copies
        last = body[-1]
        kept += body[:-1]
        kept.append(replace(last, word=replace(last.word, end=said[at - 1].word.end)))
    return kept, n_loops


def _loop_at(said: Sequence[_Said], at: int) -> tuple[int, int]:
    """Return length and number of the copies that begin at `at`; the shortest body that loops."""
    keys = [each.key for each in said[at:]]
    for length in range(1, min(_LONGEST, len(keys) // _COPIES) + 1):
        copies = 1
        while keys[copies * length : (copies + 1) * length] == keys[:length]:
            copies += 1
        if copies >= _COPIES:
            return length, copies
    return 1, 1
