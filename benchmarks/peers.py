"""The engines that are compared.

For speed on equal work each is behind `decode(windows, lengths) -> tokens per window`: English, no
timestamps, greedy, no fallback, no end of text before the given number of tokens, spectrograms
included, audio in memory. For words each peer is behind `transcribe(file, language) -> text`, as
its users call it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import whisper
from whisper.audio import log_mel_spectrogram

from whisper_service.engine.engine import load_engine
from whisper_service.engine.fallback import Result
from whisper_service.engine.precision import Dtype
from whisper_service.engine.sequence_group import SequenceGroup
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SECONDS,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
)

Decode = Callable[[Sequence[Audio], Sequence[int]], list[int]]
Transcribe = Callable[[Path, str | None], str]

EOT = 50257
_PROMPT = 4
"""<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"""


def ours(
    checkpoint: Path,
    dtype: Dtype,
    batch: int,
    beam: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Decode:
    """Our engine; a batch of one is one window after the other, with its full latency."""
    engine = load_engine(
        checkpoint.stem, checkpoint.parent, device=device, dtype=dtype, max_batch_size=batch
    )
    if engine.max_batch_size < batch:
        raise RuntimeError(f"the memory holds {engine.max_batch_size} windows, not {batch}")
    engine.filters.forbid([EOT])
    engine.warm_up()
    counts: list[int] = []
    to_hypothesis = engine.to_hypothesis

    def counting(group: SequenceGroup, result: Result) -> Hypothesis:
        """Segments without text are left out of the answer; their tokens were work all the same."""
        counts.append(len(result.tokens))
        return to_hypothesis(group, result)

    engine.to_hypothesis = counting  # type: ignore[method-assign]

    def decode(windows: Sequence[Audio], lengths: Sequence[int]) -> list[int]:
        counts.clear()
        engine.decode(
            [
                DecodeJob(window, replace(_options(length), beam_size=beam))
                for window, length in zip(windows, lengths, strict=True)
            ]
        )
        return list(counts)

    return decode


def openai_whisper(checkpoint: Path) -> Decode:
    """openai-whisper in float32, its only arithmetic on a CPU that is fast; it takes a window at
    a time."""
    model = whisper.load_model(str(checkpoint), device="cpu").float()

    def decode(windows: Sequence[Audio], lengths: Sequence[int]) -> list[int]:
        results = [
            whisper.decode(
                model,
                log_mel_spectrogram(window),
                whisper.DecodingOptions(
                    language="en",
                    fp16=False,
                    without_timestamps=True,
                    suppress_tokens=f"-1,{EOT}",
                    sample_len=length,
                ),
            )
            for window, length in zip(windows, lengths, strict=True)
        ]
        return [len(result.tokens) for result in results]

    return decode


def faster_whisper(
    folder: Path, compute_type: str, n_threads: int, batch: int, device: str = "cpu"
) -> Decode:
    """faster-whisper; batch 1 is its plain pipeline. Batches take one length for all windows: the
    mean, which spares it what unequal lengths would cost."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        str(folder), device=device, compute_type=compute_type, cpu_threads=n_threads
    )
    pipeline = BatchedInferencePipeline(model)
    same = {
        "language": "en",
        "beam_size": 1,
        "temperature": [0.0],
        "without_timestamps": True,
        "suppress_tokens": [-1, EOT],
        "compression_ratio_threshold": None,
        "log_prob_threshold": None,
        "no_speech_threshold": None,
        "condition_on_previous_text": False,
        "vad_filter": False,
    }

    def one_by_one(windows: Sequence[Audio], lengths: Sequence[int]) -> list[int]:
        counts = []
        for window, length in zip(windows, lengths, strict=True):
            segments, _ = model.transcribe(window, max_new_tokens=_cap(length), **same)
            counts.append(sum(len(segment.tokens) for segment in segments))
        return counts

    def batched(windows: Sequence[Audio], lengths: Sequence[int]) -> list[int]:
        length = round(sum(lengths) / len(lengths))
        clips = [
            {"start": WINDOW_SECONDS * i, "end": WINDOW_SECONDS * (i + 1)}
            for i in range(len(windows))
        ]
        segments, _ = pipeline.transcribe(
            np.concatenate(windows),
            clip_timestamps=clips,
            batch_size=batch,
            max_new_tokens=_cap(length),
            **same,
        )
        return [len(segment.tokens) for segment in segments]

    return one_by_one if batch == 1 else batched


def openai_whisper_files(checkpoint: Path) -> Transcribe:
    """openai-whisper's `transcribe` with its defaults: greedy, with the fallback to temperatures,
    conditioned on previous text."""
    model = whisper.load_model(str(checkpoint), device="cpu")

    def transcribe(path: Path, language: str | None) -> str:
        return str(model.transcribe(str(path), language=language, fp16=False)["text"])

    return transcribe


def faster_whisper_files(folder: Path, compute_type: str, n_threads: int) -> Transcribe:
    """faster-whisper's `transcribe` with its defaults, but greedy, as the others are; its default
    is five beams."""
    from faster_whisper import WhisperModel

    model = WhisperModel(
        str(folder), device="cpu", compute_type=compute_type, cpu_threads=n_threads
    )

    def transcribe(path: Path, language: str | None) -> str:
        segments, _ = model.transcribe(str(path), language=language, beam_size=1)
        return " ".join(segment.text for segment in segments)

    return transcribe


def _cap(length: int) -> int:
    """CTranslate2 lets half of (prompt + max_new_tokens) be new."""
    return 2 * length - _PROMPT


def _options(length: int) -> DecodeOptions:
    return DecodeOptions(
        language="en",
        timestamps="none",
        temperatures=(0.0,),
        compression_ratio_threshold=None,
        logprob_threshold=None,
        no_speech_threshold=None,
        max_tokens=length,
    )


def dense_windows(recordings: Sequence[Audio], n: int, seed: int = 0) -> list[Audio]:
    """30 s windows full of speech: recordings in random order, with short pauses."""
    chance = np.random.default_rng(seed)
    windows = []
    for _ in range(n):
        parts: list[Audio] = []
        while sum(map(len, parts)) < WINDOW_SECONDS * SAMPLE_RATE:
            pause = int(chance.uniform(0.05, 0.3) * SAMPLE_RATE)
            parts += [
                recordings[int(chance.integers(len(recordings)))],
                np.zeros(pause, np.float32),
            ]
        windows.append(np.concatenate(parts)[: WINDOW_SECONDS * SAMPLE_RATE])
    return windows


def lengths_of(n: int, seed: int = 0) -> list[int]:
    """Tokens per window: 90 ± 20, as natural speech has; their mean is 90 exactly."""
    drawn = np.random.default_rng(seed).normal(90, 20, n).clip(40, 140).round().astype(int)
    drawn[0] += 90 * n - drawn.sum()
    return [max(1, int(length)) for length in drawn]
