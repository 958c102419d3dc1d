"""The figures of the demo model, on voices, speeds and recordings that training never met.

Everything goes through openai-whisper's own `transcribe`, greedily, in float32.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from numpy.random import Generator
from whisper.model import Whisper

from tools.demo_model.clips import LEVEL, UNSEEN_SPEAKER, Recording, recordings
from tools.demo_model.espeak import SAMPLE_RATE, Audio
from tools.demo_model.noise import noise, tones
from tools.demo_model.scoring import WordErrors, segment_time_errors, word_errors, words_in
from tools.demo_model.words import LANGUAGES
from tools.speech import Utterance, unseen_utterance, utterance

Report = Callable[[str], None]
Answer = dict[str, Any]
Part = Callable[[Whisper, Generator, int], "list[Figure]"]
_SHARES = (0.6, 0.2, 0.2)
_NO_SPEECH = 0.6  # whisper's no_speech_threshold


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. `goal` is what it is held against, `detail` what it was measured on."""

    name: str
    value: float
    unit: str
    goal: str
    is_met: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many utterances each part takes."""

    synthetic: int = 510
    digits: int = 150
    silences: int = 150
    cuts: int = 200
    translations: int = 120

    def scaled(self, part: float) -> "Sizes":
        return Sizes(*(max(4, round(n * part)) for n in astuple(self)))


def evaluate(path: Path, digits: Path | None, sizes: Sizes, report: Report) -> list[Figure]:
    """All figures; the parts go on side by side, one process a part and one thread a process."""
    parts: list[tuple[Part, int]] = [
        (_synthetic, sizes.synthetic),
        (_silence, sizes.silences),
        (_cuts, sizes.cuts),
        (_translation, sizes.translations),
    ]
    if digits:
        parts.append((partial(_digits, folder=digits), sizes.digits))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        seeds = range(11, 11 + len(parts))
        futures = [
            pool.submit(_measured, part, path, seed, n)
            for (part, n), seed in zip(parts, seeds, strict=True)
        ]
        figures = []
        for future in futures:
            figures += future.result()
            report(table(figures).splitlines()[-1])
    return figures + _times(path)


def _measured(part: Part, path: Path, seed: int, n: int) -> list[Figure]:
    torch.set_num_threads(1)
    model = whisper.load_model(str(path), device="cpu")
    return part(model, np.random.default_rng(seed), n)


def transcribed(model: Whisper, audio: Audio, **options: Any) -> Answer:
    answer: Answer = model.transcribe(audio, temperature=0.0, fp16=False, **options)
    return answer


def noisy(rng: Generator, spoken: Utterance) -> Utterance:
    """A third stays clean; noise lies 10 to 40 dB under the words; the level varies by 20 dB."""
    audio = spoken.audio
    if rng.random() < 0.67:
        decibels = rng.uniform(10, 40)
        audio = audio + noise(rng, len(audio)) * np.float32(LEVEL * 10 ** (-decibels / 20))
    return replace(spoken, audio=audio * np.float32(10 ** rng.uniform(-1, 0)))


def _synthetic(model: Whisper, rng: Generator, n: int) -> list[Figure]:
    errors, times, n_languages = WordErrors(0, 0), [], 0
    for _ in range(n):
        language = str(rng.choice(LANGUAGES, p=_SHARES))
        spoken = noisy(rng, unseen_utterance(rng, language, rng.uniform(1, 30)))
        answer = transcribed(model, spoken.audio)
        errors += word_errors(spoken.text, answer["text"])
        times += segment_time_errors(spoken.words, answer["segments"])
        n_languages += answer["language"] == language
    middle, far = np.percentile(times, (50, 95)) if times else (9.9, 9.9)
    detail = f"{n} utterances of 1 to 30 s, {errors.n_words} words"
    return [
        _at_most("synthetic speech, word errors", 100 * errors.rate, "%", 4, detail),
        _at_least("language right", 100 * n_languages / n, "%", 97, detail),
        _at_most("segment times, median error", middle, "s", 0.10, f"{len(times)} times"),
        _at_most("segment times, 95th percentile", far, "s", 0.30, f"{len(times)} times"),
    ]


def _digits(model: Whisper, rng: Generator, n: int, folder: Path) -> list[Figure]:
    unseen = [recording for recording in recordings(folder) if recording.is_unseen]
    speakers = sorted({recording.speaker for recording in unseen})
    errors = {speaker: WordErrors(0, 0) for speaker in speakers}
    for i in range(n):
        speaker = speakers[i % len(speakers)]
        spoken = _digit_utterance(rng, [r for r in unseen if r.speaker == speaker])
        errors[speaker] += word_errors(spoken.text, transcribed(model, spoken.audio)["text"])
    known = sum((e for s, e in errors.items() if s != UNSEEN_SPEAKER), WordErrors(0, 0))
    new = errors.get(UNSEEN_SPEAKER, WordErrors(0, 0))
    return [
        _at_most("human digits, word errors", 100 * known.rate, "%", 8,
                 f"recordings kept apart, {len(speakers) - 1} people, {known.n_words} words"),
        _at_most("human digits of a person never met", 100 * new.rate, "%", 8,
                 f"one speaker kept apart, {new.n_words} words"),
    ]  # fmt: skip


def _digit_utterance(rng: Generator, choice: list[Recording]) -> Utterance:
    n_digits = int(rng.integers(1, 13))
    phrases = [choice[i].phrase for i in rng.integers(0, len(choice), n_digits)]
    return utterance(rng, phrases, "en", 30.0)


def _silence(model: Whisper, rng: Generator, n: int) -> list[Figure]:
    n_right = 0
    for i in range(n):
        audio = _no_speech(rng, i % 3, int(rng.uniform(1, 30) * SAMPLE_RATE))
        answer = transcribed(model, audio)
        is_silent = all(s["no_speech_prob"] > _NO_SPEECH for s in answer["segments"])
        n_right += is_silent or not answer["text"].strip()
    detail = f"{n} sounds: digital silence, noise, tones"
    return [_at_least("no text in silence", 100 * n_right / n, "%", 98, detail)]


def _no_speech(rng: Generator, kind: int, n_samples: int) -> Audio:
    if kind == 0:
        return np.zeros(n_samples, dtype=np.float32)
    sound = noise(rng, n_samples) if kind == 1 else tones(rng, n_samples)
    return sound * np.float32(LEVEL * 10 ** rng.uniform(-2, 0))


def _cuts(model: Whisper, rng: Generator, n: int) -> list[Figure]:
    """A sequence cut at both ends, anywhere: a loop is two words more than it touches."""
    n_loops = 0
    for _ in range(n):
        spoken = noisy(rng, unseen_utterance(rng, "en", rng.uniform(4, 20)))
        first, last = sorted(rng.integers(0, len(spoken.audio), 2))
        audio = spoken.audio[first : max(last, first + SAMPLE_RATE // 5)]
        n_touched = sum(w.end > first and w.start < first + len(audio) for w in spoken.words)
        n_loops += len(words_in(transcribed(model, audio)["text"])) > n_touched + 1
    detail = f"{n} sequences cut at random"
    return [_at_least("no loop after a cut", 100 * (1 - n_loops / n), "%", 99, detail)]


def _translation(model: Whisper, rng: Generator, n: int) -> list[Figure]:
    errors = WordErrors(0, 0)
    for i in range(n):
        spoken = noisy(rng, unseen_utterance(rng, ("de", "es")[i % 2], rng.uniform(1, 20)))
        answer = transcribed(model, spoken.audio, task="translate", language=spoken.language)
        errors += word_errors(spoken.english, answer["text"])
    detail = f"{n} utterances, {errors.n_words} words"
    return [_at_least("translation right", 100 * (1 - errors.rate), "%", 95, detail)]


def _times(path: Path) -> list[Figure]:
    began = time.perf_counter()
    model = whisper.load_model(str(path), device="cpu")
    mel = whisper.log_mel_spectrogram(np.zeros(30 * SAMPLE_RATE, dtype=np.float32))
    model.decode(mel, whisper.DecodingOptions(fp16=False))
    seconds = time.perf_counter() - began
    detail = f"{torch.get_num_threads()} threads"
    return [_at_most("load and decode of 30 s", seconds, "s", 1, detail)]


def _at_most(name: str, value: float, unit: str, limit: float, detail: str) -> Figure:
    return Figure(name, float(value), unit, f"≤ {limit:g} {unit}", bool(value <= limit), detail)


def _at_least(name: str, value: float, unit: str, limit: float, detail: str) -> Figure:
    return Figure(name, float(value), unit, f"≥ {limit:g} {unit}", bool(value >= limit), detail)


def table(figures: list[Figure]) -> str:
    """As markdown."""
    rows = [f"| {f.name} | {f.value:.2f} {f.unit} | {f.goal} | {'yes' if f.is_met else 'no'} "
            f"| {f.detail} |" for f in figures]  # fmt: skip
    return "\n".join(["| what | measured | goal | met | on |", "|---|---|---|---|---|", *rows])
