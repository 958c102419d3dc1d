"""The clips that utterances are composed of: phrases of one to four words, spoken or recorded.

A clip keeps its power over whisper's mel bands, so that composing is adding. The clips of training
and of evaluation share no voice, no speed, no pitch and no recording.
"""

import re
import wave
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters

from tools.demo_model.espeak import (
    SAMPLE_RATE,
    Audio,
    Phrase,
    SpokenWord,
    Voice,
    at_16_khz,
    espeak,
    heard,
)  # fmt: skip
from tools.demo_model.words import DIGITS, WORDS, Word, words_of

_ACCENTS = {
    "en": ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan",
           "en-gb-x-gbcwmd"),
    "de": ("de",),
    "es": ("es", "es-419"),
}  # fmt: skip
_TRAINING_VARIANTS = (
    "f1", "f2", "f3", "f4", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "klatt", "klatt2", "klatt4",
    "Andy", "Annie", "adam", "anika", "antonio", "aunty", "belinda", "benjamin", "boris", "david",
    "ed", "gene", "iven", "iven2", "john", "marcelo", "max", "michel", "miguel", "norbert", "pablo",
    "pedro", "quincy", "rob", "robert", "shelby", "steph2", "travis", "victor", "zac", "Mike",
    "Michael", "Alex",
)  # fmt: skip
_UNSEEN_VARIANTS = (
    "f5", "m8", "klatt3", "steph", "paul", "linda", "edward", "sandro", "grandma", "Lee",
)  # fmt: skip
_TRAINING_RATES, _UNSEEN_RATES = (115, 130, 145, 160, 175, 190, 205, 220), (122, 152, 183, 212)
_TRAINING_PITCHES, _UNSEEN_PITCHES = (20, 30, 40, 50, 60, 70, 80), (25, 45, 55, 75)

UNSEEN_SPEAKER = "lucas"
_UNSEEN_RECORDINGS = 40  # of the other speakers, from this number on: 10 of 45 for each digit
LEVEL = 0.07  # root mean square of a clip's words, about -23 dB of full scale


@dataclass(frozen=True, slots=True)
class Clip:
    """mel: float16 [n_frames, 80], log10 of the power in every 10 ms; word times in samples."""

    mel: NDArray[np.float16]
    words: tuple[SpokenWord, ...]

    @property
    def n_samples(self) -> int:
        return len(self.mel) * int(HOP_LENGTH)


def log_mel(audio: Audio) -> NDArray[np.float32]:
    """float32 [n_frames, 80]: log10 of whisper's mel power, before it is clamped and normalised."""
    window = torch.hann_window(N_FFT)
    padded = torch.nn.functional.pad(torch.from_numpy(audio), (N_FFT // 2, N_FFT // 2))
    stft = torch.stft(padded, N_FFT, HOP_LENGTH, window=window, center=False, return_complex=True)
    power = mel_filters("cpu", 80) @ (stft[..., :-1].abs() ** 2)
    return np.asarray(power.clamp(min=1e-10).log10().T.numpy(), dtype=np.float32)


def clip_of(phrase: Phrase) -> Clip:
    return Clip(log_mel(phrase.audio).astype(np.float16), phrase.words)


def training_voice(rng: Generator, language: str) -> Voice:
    return _voice(rng, language, _TRAINING_VARIANTS, _TRAINING_RATES, _TRAINING_PITCHES)


def unseen_voice(rng: Generator, language: str) -> Voice:
    return _voice(rng, language, _UNSEEN_VARIANTS, _UNSEEN_RATES, _UNSEEN_PITCHES)


def _voice(
    rng: Generator, language: str, variants: tuple[str, ...], rates: tuple[int, ...],
    pitches: tuple[int, ...],
) -> Voice:  # fmt: skip
    name = f"{rng.choice(_ACCENTS[language])}+{rng.choice(variants)}"
    return Voice(name, int(rng.choice(rates)), int(rng.choice(pitches)))


def spoken_phrase(rng: Generator, words: tuple[Word, ...], voice: Voice) -> Phrase:
    """The words in that voice, run together or paced; one by one where no times are told."""
    separator = " " if rng.random() < 0.5 else ", "
    phrase = espeak().say(words, voice, separator)
    if phrase is not None:
        return levelled(phrase)
    if len(words) == 1:
        raise RuntimeError(f"espeak-ng cannot say {words[0].text!r} as {voice}")
    return joined([spoken_phrase(rng, (word,), voice) for word in words])


def joined(phrases: list[Phrase]) -> Phrase:
    starts = np.cumsum([0, *(len(phrase.audio) for phrase in phrases)])
    words = (
        replace(word, start=int(start) + word.start, end=int(start) + word.end)
        for start, phrase in zip(starts, phrases, strict=False)
        for word in phrase.words
    )
    return Phrase(np.concatenate([phrase.audio for phrase in phrases]), tuple(words))


def training_phrases(rng: Generator, language: str, n_phrases: int) -> Iterator[Phrase]:
    """Half of the phrases are single words, every word as often as any other."""
    choice = words_of(language)
    for i in range(n_phrases):
        n_words = 1 if i % 2 else int(rng.integers(2, 6))
        more = [choice[j] for j in rng.integers(0, len(choice), n_words - 1)]
        words = (choice[i // 2 % len(choice)], *more)
        phrase = spoken_phrase(rng, words, training_voice(rng, language))
        yield respoken(phrase, float(rng.uniform(0.88, 1.14))) if rng.random() < 0.6 else phrase


def respoken(phrase: Phrase, speed: float) -> Phrase:
    """Played at another speed: pitch and formants move too, as with another speaker's size."""
    down = round(100 * speed)
    audio = np.asarray(soxr.resample(phrase.audio, down, 100), dtype=np.float32)
    words = (SpokenWord(w.word, w.start * 100 // down, w.end * 100 // down) for w in phrase.words)
    return Phrase(audio, tuple(words))


def levelled(phrase: Phrase) -> Phrase:
    loud = np.concatenate([phrase.audio[word.start : word.end] for word in phrase.words])
    level = float(np.sqrt(np.mean(loud**2))) + 1e-9
    return Phrase(phrase.audio * np.float32(LEVEL / level), phrase.words)


@dataclass(frozen=True, slots=True)
class Recording:
    """A person's digit: file name DIGIT_SPEAKER_N.wav."""

    digit: int
    speaker: str
    number: int
    phrase: Phrase

    @property
    def is_unseen(self) -> bool:
        return self.speaker == UNSEEN_SPEAKER or self.number >= _UNSEEN_RECORDINGS


def recordings(folder: Path) -> list[Recording]:
    found = []
    for path in sorted(folder.glob("*.wav")):
        if match := re.fullmatch(r"(\d)_(\w+)_(\d+)", path.stem):
            digit, speaker, number = int(match[1]), match[2], int(match[3])
            found.append(Recording(digit, speaker, number, _recorded(path, DIGITS[digit])))
    return found


def _recorded(path: Path, word: Word) -> Phrase:
    audio = read_wav(path)
    start, end = heard(audio, 0, len(audio))
    return levelled(Phrase(audio, (SpokenWord(word, start, max(end, start + 800)),)))


def read_wav(path: Path) -> Audio:
    """A mono 16-bit file as float32 at 16 kHz."""
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        rate = file.getframerate()
    return at_16_khz(pcm, rate)


def write_wav(path: Path, audio: Audio) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((audio.clip(-1, 1) * 32767).astype(np.int16).tobytes())


def word_class(word: Word) -> int:
    return WORDS.index(word)
