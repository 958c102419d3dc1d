"""Utterances of known words with the time of every word, for tests, evaluation and trials.

    python -m tools.speech "one two three" --out three.wav

writes the sound and, beside it, three.json with its words and their times. Needs espeak-ng.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from tools.demo_model.clips import spoken_phrase, unseen_voice, write_wav
from tools.demo_model.espeak import SAMPLE_RATE, Audio, Phrase, SpokenWord, Voice
from tools.demo_model.scene import lay_out, words_at
from tools.demo_model.words import LANGUAGES, Word, words_of


@dataclass(frozen=True, slots=True)
class Placed:
    """A phrase as a scene's layout wants it."""

    phrase: Phrase

    @property
    def n_samples(self) -> int:
        return len(self.phrase.audio)

    @property
    def words(self) -> tuple[SpokenWord, ...]:
        return self.phrase.words


@dataclass(frozen=True, slots=True)
class Utterance:
    """audio: float32 [n_samples] at 16 kHz; words in samples from its start."""

    audio: Audio
    words: tuple[SpokenWord, ...]
    language: str

    @property
    def text(self) -> str:
        return " ".join(spoken.word.text for spoken in self.words)

    @property
    def english(self) -> str:
        return " ".join(spoken.word.english for spoken in self.words)

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE


def utterance(rng: Generator, phrases: list[Phrase], language: str, seconds: float) -> Utterance:
    """The phrases with random pauses, from a moment within the first second, while they fit."""
    n_samples = int(seconds * SAMPLE_RATE)
    first = int(rng.uniform(0.05, min(1.0, seconds / 4)) * SAMPLE_RATE)
    placed = lay_out(rng, [Placed(phrase) for phrase in phrases], first, n_samples)
    placed = [(s, p) for s, p in placed if s + p.n_samples <= n_samples] or placed[:1]
    length = max(n_samples, placed[-1][0] + placed[-1][1].n_samples)
    audio = np.zeros(length, dtype=np.float32)
    for start, clip in placed:
        audio[start : start + clip.n_samples] += clip.phrase.audio
    return Utterance(audio, words_at(placed), language)


def unseen_utterance(rng: Generator, language: str, seconds: float) -> Utterance:
    """In one voice that training never used, of phrases of one to four words."""
    voice, choice = unseen_voice(rng, language), words_of(language)
    phrases = []
    for _ in range(max(1, int(seconds))):
        indexes = rng.integers(0, len(choice), int(rng.integers(1, 5)))
        phrases.append(spoken_phrase(rng, tuple(choice[i] for i in indexes), voice))
    return utterance(rng, phrases, language, seconds)


def described(spoken: Utterance) -> dict[str, object]:
    """As JSON: the text, its language, and every word with its start and end in seconds."""
    words = [
        {"word": w.word.text, "start": w.start / SAMPLE_RATE, "end": w.end / SAMPLE_RATE}
        for w in spoken.words
    ]
    return {"language": spoken.language, "text": spoken.text, "translation": spoken.english,
            "duration": spoken.seconds, "words": words}  # fmt: skip


def write_utterance(spoken: Utterance, path: Path) -> None:
    write_wav(path, spoken.audio)
    facts = json.dumps(described(spoken), ensure_ascii=False, indent=1)
    path.with_suffix(".json").write_text(facts + "\n", encoding="utf-8")


def main() -> None:
    options = _options()
    known = {word.text: word for word in words_of(options.language)}
    phrases = [
        spoken_phrase(np.random.default_rng(options.seed), _words(part, known), _voice(options))
        for part in options.text.split(",")
    ]
    pauses = _paused(phrases, options.pause)
    write_utterance(Utterance(pauses.audio, pauses.words, options.language), options.out)


def _words(text: str, known: dict[str, Word]) -> tuple[Word, ...]:
    if unknown := [word for word in text.split() if word not in known]:
        raise SystemExit(f"not in the demo model's words: {', '.join(unknown)}")
    return tuple(known[word] for word in text.split())


def _voice(options: argparse.Namespace) -> Voice:
    return Voice(options.voice or _VOICES[options.language], options.rate, options.pitch)


def _paused(phrases: list[Phrase], pause: float) -> Phrase:
    """One phrase of all of them, with the pause before, between and after them."""
    silence = np.zeros(int(pause * SAMPLE_RATE), dtype=np.float32)
    audio, words = [silence], list[SpokenWord]()
    for phrase in phrases:
        start = sum(map(len, audio))
        words += words_at([(start, Placed(phrase))])
        audio += [phrase.audio, silence]
    return Phrase(np.concatenate(audio), tuple(words))


_VOICES = {"en": "en-us+f5", "de": "de+paul", "es": "es+linda"}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("text", help="words that the demo model knows; a comma makes a pause")
    parser.add_argument("--out", type=Path, required=True, help="a .wav file")
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="(%(default)s)")
    parser.add_argument("--voice", help="of espeak-ng, such as en-us+f5")
    parser.add_argument("--rate", type=int, default=160, help="words a minute (%(default)s)")
    parser.add_argument("--pitch", type=int, default=50, help="0 to 99 (%(default)s)")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
