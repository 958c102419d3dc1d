"""Utterances composed of clips, in the mel domain: cheap enough to make afresh for every step."""

import math
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from whisper.audio import HOP_LENGTH

from tools.demo_model.clips import LEVEL, Clip
from tools.demo_model.espeak import SAMPLE_RATE, SpokenWord

Mel = NDArray[np.float32]
_SPEECH_POWER = 2 * math.log10(LEVEL)  # log10, against noises at a level of 1


class Placeable(Protocol):
    @property
    def n_samples(self) -> int: ...
    @property
    def words(self) -> tuple[SpokenWord, ...]: ...


P = TypeVar("P", bound=Placeable)


@dataclass(frozen=True, slots=True)
class Sounds:
    """What scenes are made of. clips: per language; digits: of people, may be empty; noises and
    tones: log10 mel power [n_frames, 80] of long recordings at a level of 1."""

    clips: dict[str, list[Clip]]
    digits: list[Clip]
    noises: list[Mel]
    tones: list[Mel]


@dataclass(frozen=True, slots=True)
class Scene:
    """mel: float32 [n_frames, 80] as whisper normalises it; words in samples from the start."""

    mel: Mel
    words: tuple[SpokenWord, ...]
    language: str

    @property
    def n_samples(self) -> int:
        return len(self.mel) * int(HOP_LENGTH)


def gap(rng: Generator) -> int:
    """Samples between two clips: joined, a pause, or a long one. 0.22 to 0.38 s is left out, so
    that the rule by which a pause of 0.3 s ends a segment is learned from clear cases."""
    kind = rng.random()
    if kind < 0.40:
        seconds = rng.uniform(0.0, 0.2)
    elif kind < 0.85:
        seconds = rng.uniform(0.4, 1.0)
    elif kind < 0.97:
        seconds = rng.uniform(1.0, 3.0)
    else:
        seconds = rng.uniform(3.0, 8.0)
    return int(seconds * SAMPLE_RATE)


def lead_in(rng: Generator) -> int:
    seconds = rng.uniform(0.0, 0.9) if rng.random() < 0.75 else rng.uniform(0.0, 4.0)
    return int(seconds * SAMPLE_RATE)


def lay_out(rng: Generator, clips: list[P], first: int, n_samples: int) -> list[tuple[int, P]]:
    """Where each clip starts: one after the other from sample `first`, while any of it fits."""
    placed, start = [], first
    for clip in clips:
        if start >= n_samples:
            break
        placed.append((start, clip))
        start += clip.n_samples + gap(rng)
    return placed


def words_at(placed: list[tuple[int, P]]) -> tuple[SpokenWord, ...]:
    return tuple(
        replace(word, start=start + word.start, end=start + word.end)
        for start, clip in placed
        for word in clip.words
    )


def compose(
    rng: Generator,
    sounds: Sounds,
    language: str,
    clips: list[Clip],
    n_frames: int,
    *,
    is_full: bool,
) -> Scene:
    """A window of n_frames of 10 ms. A full one may cut its last word; a short one holds whole
    clips, or, at times, is cut and goes on in silence, as the end of a stream does."""
    n_samples = n_frames * HOP_LENGTH
    first = min(lead_in(rng), n_samples // 3)
    placed = lay_out(rng, [warped(rng, clip) for clip in clips], first, n_samples)
    if not is_full:
        placed = [(s, clip) for s, clip in placed if s + clip.n_samples <= n_samples]
    placed = _started_within(rng, placed)
    power = _silence(n_frames)
    for start, clip in placed:
        _add(power, clip.mel + np.float32(rng.normal(0, 0.25)), start // HOP_LENGTH)
    power *= 10 ** _colour(rng)
    words = words_at(placed)
    _add_background(rng, sounds, power)
    power, words = _cut_short(rng, power, words)
    return Scene(normalised(power * 10 ** rng.uniform(-2.5, 0.3)), _kept(words), language)


def compose_silence(rng: Generator, sounds: Sounds, n_frames: int, language: str) -> Scene:
    """No words: digital silence, noise of any level, or tones."""
    power = _silence(n_frames)
    kind = rng.random()
    if kind < 0.85:
        source = sounds.noises if kind < 0.5 else sounds.tones
        _add(power, _excerpt(rng, source, n_frames) + np.float32(rng.uniform(-10, 1)), 0)
    if kind > 0.75:
        _add(power, _excerpt(rng, sounds.noises, n_frames) + np.float32(rng.uniform(-10, -1)), 0)
    if rng.random() < 0.3:
        power[int(rng.integers(0, n_frames)) :] = 0
    return Scene(normalised(power * 10 ** _colour(rng)), (), language)


def normalised(power: Mel) -> Mel:
    """whisper.audio.log_mel_spectrogram's last lines."""
    log = np.log10(np.maximum(power, 1e-10))
    return np.asarray((np.maximum(log, log.max() - 8.0) + 4.0) / 4.0, dtype=np.float32)


def _silence(n_frames: int) -> Mel:
    return np.zeros((n_frames, 80), dtype=np.float32)


def _add(power: Mel, log_mel: NDArray[np.floating], frame: int) -> None:
    """Adds what fits of log_mel to power[frame:]; `frame` may be negative."""
    skipped = max(0, -frame)
    part = log_mel[skipped : len(power) - frame]
    power[frame + skipped : frame + skipped + len(part)] += 10 ** part.astype(np.float32)


def warped(rng: Generator, clip: Clip) -> Clip:
    """Half of the clips a little longer or shorter, and their formants a little moved."""
    if rng.random() < 0.5:
        return clip
    stretch, shift = rng.uniform(0.85, 1.18), rng.uniform(0.94, 1.06)
    frames = np.minimum(np.arange(int(len(clip.mel) * stretch)) / stretch, len(clip.mel) - 1)
    bands = np.minimum(np.arange(80) * shift, 79)
    mel = _interpolated(_interpolated(clip.mel.astype(np.float32), frames).T, bands).T
    words = (
        replace(word, start=int(word.start * stretch), end=int(word.end * stretch))
        for word in clip.words
    )
    return Clip(mel.astype(np.float16), tuple(words))


def _interpolated(rows: Mel, places: NDArray[np.float64]) -> Mel:
    low = places.astype(int)
    high = np.minimum(low + 1, len(rows) - 1)
    part = (places - low).astype(np.float32)[:, None]
    return np.asarray(rows[low] * (1 - part) + rows[high] * part, dtype=np.float32)


def _colour(rng: Generator) -> Mel:
    """float32 [80], log10 power: the microphone's and the room's, at times a telephone's band."""
    knots = np.cumsum(rng.normal(0, 0.25, 6))
    curve = np.interp(np.arange(80), np.linspace(0, 79, 6), knots - knots.mean())
    if rng.random() < 0.3:
        curve[int(rng.integers(52, 66)) :] -= rng.uniform(1.0, 6.0)  # from 3.4 to 5.2 kHz on
    return np.asarray(curve, dtype=np.float32)


def _add_background(rng: Generator, sounds: Sounds, power: Mel) -> None:
    """A quarter of all scenes stay as clean as they are; tones are rarer than noise."""
    kind = rng.random()
    if kind < 0.25:
        return
    source, loudest = (sounds.noises, -0.3) if kind < 0.93 else (sounds.tones, -1.0)
    level = rng.uniform(-6.0, loudest) + _SPEECH_POWER  # 3 or 10 to 60 dB below speech
    _add(power, _excerpt(rng, source, len(power)) + np.float32(level), 0)


def _excerpt(rng: Generator, source: list[Mel], n_frames: int) -> Mel:
    sound = source[int(rng.integers(len(source)))]
    start = int(rng.integers(0, max(1, len(sound) - n_frames)))
    excerpt = sound[start : start + n_frames]
    return np.resize(excerpt, (n_frames, 80)) if len(excerpt) < n_frames else excerpt


def _started_within(rng: Generator, placed: list[tuple[int, Clip]]) -> list[tuple[int, Clip]]:
    """A tenth of the windows begin within their first word's last quarter, or first eighth."""
    if not placed or rng.random() > 0.1:
        return placed
    start, clip = placed[0]
    word = clip.words[0]
    part = rng.uniform(0.75, 1.0) if rng.random() < 0.5 else rng.uniform(0.0, 0.12)
    cut = start + word.start + int(part * (word.end - word.start))
    return [(s - cut // HOP_LENGTH * HOP_LENGTH, c) for s, c in placed]


def _cut_short(
    rng: Generator, power: Mel, words: tuple[SpokenWord, ...]
) -> tuple[Mel, tuple[SpokenWord, ...]]:
    """One scene in eight stops within a word, and digital silence follows. Three quarters of a
    word are enough to write it; of less than a third nothing is written."""
    if not words or rng.random() > 0.125:
        return power, words
    i = int(rng.integers(len(words)))
    word = words[i]
    is_heard = rng.random() < 0.5
    part = rng.uniform(0.75, 1.0) if is_heard else rng.uniform(0.02, 0.33)
    cut = word.start + int(part * (word.end - word.start))
    power[max(0, cut // HOP_LENGTH) :] = 0
    return power, (*words[:i], replace(word, end=cut)) if is_heard else words[:i]


def _kept(words: tuple[SpokenWord, ...]) -> tuple[SpokenWord, ...]:
    """Without a first word of which only the end is heard."""
    return tuple(
        replace(word, start=max(0, word.start))
        for word in words
        if word.start >= 0 or -word.start < 0.5 * (word.end - word.start)
    )
