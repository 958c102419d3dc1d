"""openai-whisper's own decode, and whether ours is the same: for any model, any audio."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import whisper
from torch import Tensor
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingResult
from whisper.model import Whisper

from whisper_service.engine.engine import Engine
from whisper_service.engine.fallback import Result
from whisper_service.engine.request import Request
from whisper_service.engine.sequence_group import SequenceGroup
from whisper_service.types import Audio, DecodeJob, DecodeOptions, Hypothesis

ONCE = DecodeOptions(temperatures=(0.0,), no_speech_threshold=None)
SORTS_WITH_NUMPY = pytest.mark.filterwarnings(
    # openai-whisper sorts a tensor with numpy
    "ignore:__array_wrap__ must accept:DeprecationWarning"
)

Results = dict[int, tuple[str, Result]]
"""By a job's id: language and raw decode, before segments without text are left out."""
Expected = dict[str, DecodingResult]


@dataclass(frozen=True, eq=False)
class Case:
    """One decode, as both are asked for it."""

    audio: Audio
    options: DecodeOptions = ONCE
    whisper: dict[str, Any] = field(default_factory=dict)
    previous_text: str = ""
    prefix: str = ""

    @property
    def job(self) -> DecodeJob:
        return DecodeJob(self.audio, self.options, self.previous_text, self.prefix)


def case(audio: Audio, previous_text: str = "", prefix: str = "", **options: Any) -> Case:
    """A case whose options have the same name on both sides."""
    asked: dict[str, Any] = {**options}
    if "max_tokens" in asked:
        asked["sample_len"] = asked.pop("max_tokens")
    if prefix:
        asked |= {"prefix": prefix, "without_timestamps": True}
    if previous_text:
        asked["prompt"] = previous_text.strip()
    return Case(audio, replace(ONCE, **options), asked, previous_text, prefix)


def decoded(model: Whisper, cases: Mapping[str, Case]) -> Expected:
    """What openai-whisper makes of each case; each audio is encoded once."""
    encoded: dict[int, Tensor] = {}
    found: Expected = {}
    for name, case in cases.items():
        if id(case.audio) not in encoded:
            encoded[id(case.audio)] = _encoded(model, case.audio)
        options = whisper.DecodingOptions(fp16=False, **case.whisper)
        torch.manual_seed(0)  # sampling draws what ours does
        found[name] = whisper.decode(model, encoded[id(case.audio)], options)
    return found


@torch.inference_mode()
def _encoded(model: Whisper, audio: Audio) -> Tensor:
    mel = log_mel_spectrogram(pad_or_trim(audio), model.dims.n_mels)
    features: Tensor = model.encoder(mel[None])[0]
    return features


def recorded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Results:
    """What the engine answers from now on."""
    found: Results = {}
    to_hypothesis = engine.to_hypothesis

    def recording(group: SequenceGroup, result: Result) -> Hypothesis:
        found[id(group.job)] = (group.detection.language, result)
        return to_hypothesis(group, result)

    monkeypatch.setattr(engine, "to_hypothesis", recording)
    return found


def assert_same(found: tuple[str, Result], expected: DecodingResult) -> None:
    language, result = found
    assert language == expected.language
    assert list(result.tokens) == expected.tokens
    assert result.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
    assert result.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-5)
    assert result.compression_ratio == expected.compression_ratio
    assert result.temperature == expected.temperature


def decode_in_disorder(engine: Engine, requests: list[Request], chance: random.Random) -> int:
    """Let jobs join whenever chance has it, and some leave before they are done; -> how many."""
    waiting, going, n_cancelled = list(requests), [], 0
    while waiting or engine.n_jobs:
        while waiting and engine.has_room(waiting[-1]) and chance.random() < 0.4:
            going.append(waiting.pop())
            engine.admit([going[-1]])
        engine.step()
        if going and chance.random() < 0.02:
            n_cancelled += 1
            engine.cancel(going.pop(chance.randrange(len(going))))
    return n_cancelled


def transcribed(model: Whisper, audio: Audio, **options: Any) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    segments: list[dict[str, Any]] = whisper.transcribe(
        model, audio, fp16=False, no_speech_threshold=None, **options
    )["segments"]
    return [segment for segment in segments if segment["seek"] == 0]


THRESHOLDS: tuple[dict[str, float | None], ...] = (
    {"logprob_threshold": -0.2, "compression_ratio_threshold": None},
    {"logprob_threshold": None, "compression_ratio_threshold": 0.9},
)


def assert_same_fallback(
    engine: Engine, model: Whisper, samples: Audio, thresholds: dict[str, float | None]
) -> None:
    ladder = (0.0, 0.4, 1.0)
    theirs = best_attempt(
        [
            transcribed(model, samples, temperature=ladder[:n], language="en", **thresholds)
            for n in range(1, len(ladder) + 1)
        ],
        **thresholds,
    )
    options = replace(ONCE, temperatures=ladder, language="en", **thresholds)
    (answer,) = engine.decode([DecodeJob(samples, options)])
    assert isinstance(answer, Hypothesis)
    ours = answer.segments[: len(theirs)]
    assert [s.temperature for s in ours] == [s["temperature"] for s in theirs]
    assert [list(s.tokens) for s in ours] == [s["tokens"] for s in theirs]


def best_attempt(
    attempts: Sequence[list[dict[str, Any]]],
    *,
    logprob_threshold: float | None,
    compression_ratio_threshold: float | None,
) -> list[dict[str, Any]]:
    """The first attempt that passes, else the likeliest of those not too repetitive, or of all."""

    def is_varied(attempt: list[dict[str, Any]]) -> bool:
        limit = compression_ratio_threshold
        return limit is None or attempt[0]["compression_ratio"] <= limit

    def is_likely(attempt: list[dict[str, Any]]) -> bool:
        return logprob_threshold is None or attempt[0]["avg_logprob"] >= logprob_threshold

    passed = [attempt for attempt in attempts if is_varied(attempt) and is_likely(attempt)]
    if passed:
        return passed[0]
    candidates = [attempt for attempt in attempts if is_varied(attempt)] or list(attempts)
    return max(candidates, key=lambda attempt: attempt[0]["avg_logprob"])


def assert_same_words(engine: Engine, model: Whisper, samples: Audio) -> None:
    theirs = transcribed(model, samples, temperature=0.0, language="en", word_timestamps=True)
    options = replace(ONCE, language="en", timestamps="word")
    (answer,) = engine.decode([DecodeJob(samples, options)])
    assert isinstance(answer, Hypothesis)
    # openai-whisper leaves an unfinished last segment to the next window
    ours = answer.segments[: len(theirs)]
    # and drops the text of a lone word to which it gives no length; we keep it
    ours = tuple(o for o, t in zip(ours, theirs, strict=True) if t["text"])
    theirs = [t for t in theirs if t["text"]]
    assert [s.text for s in ours] == [s["text"] for s in theirs]
    assert [[(w.text, w.start, w.end) for w in s.words] for s in ours] == [
        [(w["word"], w["start"], w["end"]) for w in s["words"]] for s in theirs
    ]
    assert [w.probability for s in ours for w in s.words] == pytest.approx(
        [w["probability"] for s in theirs for w in s["words"]], abs=1e-4
    )


def assert_same_languages(engine: Engine, model: Whisper, samples: Audio) -> None:
    mel = log_mel_spectrogram(pad_or_trim(samples))
    _, theirs = whisper.detect_language(model, mel)
    assert engine.detect_language(samples).probabilities == pytest.approx(theirs, abs=1e-5)


def spoken(answer: object) -> list[int]:
    """The tokens of an answer's segments."""
    assert isinstance(answer, Hypothesis)
    return [token for segment in answer.segments for token in segment.tokens]
