"""Batches for training: scenes, what to write for them, and where it is heard."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from tools.demo_model.clips import Clip, word_class
from tools.demo_model.espeak import SpokenWord
from tools.demo_model.scene import Scene, Sounds, compose, compose_silence
from tools.demo_model.script import (
    N_FRAMES,
    PAUSE,
    SAMPLES_PER_FRAME,
    Script,
    Task,
    Window,
    vocabulary,
    write_script,
)  # fmt: skip
from tools.demo_model.words import LANGUAGES, WORDS, words_of

IGNORED = -100
_NO_WORD = len(WORDS)
Classes = NDArray[np.int64]
_LANGUAGE_SHARES = (0.6, 0.2, 0.2)


@dataclass(frozen=True, slots=True)
class Batch:
    """mel float32 [B, 80, 2 N]; first_frames int64 [B]; tokens, targets int64 [B, T], IGNORED where
    not learned; spans int64 [B, T, 2], of the target's word; frames int64 [B, N], word classes;
    previous int64 [B, N], in a word the class of the word before it, IGNORED elsewhere."""

    mel: Tensor
    first_frames: Tensor
    tokens: Tensor
    targets: Tensor
    spans: Tensor
    frames: Tensor
    previous: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(getattr(self, name).to(device) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Shape:
    """n_frames: of 20 ms; max_clips: as many are laid out in a window, where they fit; is_banded:
    the encoder attends to what is near."""

    n_scenes: int
    n_frames: int
    max_clips: int
    is_banded: bool = False


def make_batch(rng: Generator, sounds: Sounds, shape: Shape) -> Batch:
    examples = [_example(rng, sounds, shape) for _ in range(shape.n_scenes)]
    scenes, windows, scripts = zip(*examples, strict=True)
    length = max(len(script.tokens) for script in scripts) - 1
    tokens, targets, spans = zip(*(_padded(script, length) for script in scripts), strict=True)
    return Batch(
        torch.from_numpy(np.stack([scene.mel.T for scene in scenes])),
        torch.tensor([window.first_frame for window in windows]),
        torch.tensor(tokens), torch.tensor(targets), torch.tensor(spans),
        torch.from_numpy(np.stack([_frame_classes(window) for window in windows])),
        torch.from_numpy(np.stack([_previous_classes(window) for window in windows])),
    )  # fmt: skip


def _example(rng: Generator, sounds: Sounds, shape: Shape) -> tuple[Scene, Window, Script]:
    language = str(rng.choice(LANGUAGES, p=_LANGUAGE_SHARES))
    first_frame = int(rng.integers(0, N_FRAMES - shape.n_frames + 1))
    is_full = first_frame + shape.n_frames >= N_FRAMES
    if rng.random() < 0.08:
        scene = compose_silence(rng, sounds, 2 * shape.n_frames, language)
    else:
        clips = _clips(rng, sounds, language, shape.max_clips)
        scene = compose(rng, sounds, language, clips, 2 * shape.n_frames, is_full=is_full)
    window = Window(scene.words, language, scene.n_samples, first_frame)
    return scene, window, write_script(window, _task(rng, language))


def _clips(rng: Generator, sounds: Sounds, language: str, max_clips: int) -> list[Clip]:
    pool = sounds.clips[language]
    if language == "en" and sounds.digits and rng.random() < 0.45:
        pool = sounds.digits
    return [pool[i] for i in rng.integers(0, len(pool), int(rng.integers(1, max_clips + 1)))]


def _task(rng: Generator, language: str) -> Task:
    choice = words_of(language)
    # Short ones as often as long ones: a vocabulary hint, or what a stream has said so far.
    n_prompt = int(2 ** rng.uniform(0, 6)) if rng.random() < 0.25 else 0
    return Task(
        translate=bool(rng.random() < (0.05 if language == "en" else 0.4)),
        timestamps=bool(rng.random() < 0.87),
        prompt=tuple(choice[i] for i in rng.integers(0, len(choice), n_prompt)),
    )


def _padded(script: Script, length: int) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Inputs, targets and the targets' spans, all of that length."""
    rest = length - len(script.tokens) + 1
    targets = [IGNORED] * script.n_head + script.tokens[script.n_head :]
    language = script.sot + 1
    targets[language] = script.after_sot or script.tokens[language]
    return (
        script.tokens[:-1] + [vocabulary().eot] * rest,
        targets[1:] + [IGNORED] * rest,
        script.spans[1:] + [(0, 0)] * rest,
    )


def _frame_classes(window: Window) -> Classes:
    classes = np.full(window.n_samples // SAMPLES_PER_FRAME, _NO_WORD, dtype=np.int64)
    for spoken in window.words:
        classes[_frames(spoken)] = word_class(spoken.word)
    return classes


def _previous_classes(window: Window) -> Classes:
    """After a word the decoder looks for what follows it: frames that tell what they follow."""
    classes = np.full(window.n_samples // SAMPLES_PER_FRAME, IGNORED, dtype=np.int64)
    for before, spoken in zip((None, *window.words), window.words, strict=False):
        follows = before is not None and spoken.start - before.end < PAUSE
        classes[_frames(spoken)] = word_class(before.word) if before and follows else _NO_WORD
    return classes


def _frames(spoken: SpokenWord) -> slice:
    return slice(spoken.start // SAMPLES_PER_FRAME, spoken.end // SAMPLES_PER_FRAME)
