"""Our decode loop in float32 against openai-whisper's, on the same weights and audio.

`SCHEDULES=50` lets jobs join and leave in so many random orders; by default in three.
"""

import os
import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingResult
from whisper.model import Whisper

from tests.speech import TEXTS, speech
from whisper_service.engine.engine import Engine
from whisper_service.engine.fallback import Result
from whisper_service.engine.run import Run
from whisper_service.engine.ticket import Ticket
from whisper_service.types import (
    SAMPLE_RATE,
    WINDOW_SAMPLES,
    Audio,
    DecodeJob,
    DecodeOptions,
    Hypothesis,
)

pytestmark = [
    pytest.mark.model,
    # openai-whisper sorts a tensor with numpy
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

ONCE = DecodeOptions(temperatures=(0.0,), no_speech_threshold=None)


def full_window(*names: str) -> Audio:
    """30 s: each recording, then half a second of silence, and silence to the end: there
    `transcribe` takes its spectrogram from zeros behind the audio, `decode` from its mirror."""
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    joined = np.concatenate([part for name in names for part in (speech(name), pause)])
    joined = joined[: WINDOW_SAMPLES - len(pause)]
    return np.pad(joined, (0, WINDOW_SAMPLES - len(joined)))


def noise() -> Audio:
    return np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE).astype(np.float32)


AUDIO = {
    **{name: speech(name) for name in TEXTS},
    "dense": full_window(*[name for _ in range(3) for name in TEXTS]),
    "noise": noise(),
}


@dataclass(frozen=True)
class Case:
    """One decode, as both are asked for it."""

    audio: str
    options: DecodeOptions = ONCE
    whisper: dict[str, Any] = field(default_factory=dict)
    previous_text: str = ""
    prefix: str = ""

    @property
    def job(self) -> DecodeJob:
        return DecodeJob(AUDIO[self.audio], self.options, self.previous_text, self.prefix)

    def expected(self, model: Whisper) -> DecodingResult:
        mel = log_mel_spectrogram(pad_or_trim(AUDIO[self.audio]))
        options = whisper.DecodingOptions(fp16=False, **self.whisper)
        torch.manual_seed(0)  # sampling draws what ours does
        return whisper.decode(model, mel, options)


def case(audio: str, previous_text: str = "", prefix: str = "", **options: Any) -> Case:
    """A case whose options have the same name on both sides."""
    asked: dict[str, Any] = {**options}
    if "max_tokens" in asked:
        asked["sample_len"] = asked.pop("max_tokens")
    if prefix:
        asked["prefix"] = prefix
    return Case(audio, replace(ONCE, **options), asked, previous_text, prefix)


SAMPLED = {"temperature": 0.7, "sample_len": 30}
OUR_SAMPLED = replace(ONCE, temperatures=(0.7,), max_tokens=30)
UNTIMED = replace(ONCE, timestamps="none", max_tokens=30)
THEIR_UNTIMED = {"without_timestamps": True, "sample_len": 30}
CASES = {
    **{f"greedy-{name}": case(name) for name in [*TEXTS, "dense"]},
    "greedy-noise": case("noise", max_tokens=40),
    **{f"beam5-{name}": case(name, beam_size=5) for name in ["en_eight", "de_drei_vier", "dense"]},
    "beam5-noise": case("noise", beam_size=5, max_tokens=25),
    "beam2-patient": case("dense", beam_size=2, patience=2.0),
    "beam3-impatient": case("noise", beam_size=3, patience=0.5, max_tokens=25),
    "beam3-length": case("dense", beam_size=3, length_penalty=0.6),
    "sampled": Case("dense", OUR_SAMPLED, SAMPLED),
    "sampled-noise": Case("noise", OUR_SAMPLED, SAMPLED),
    "untimed": Case("dense", UNTIMED, THEIR_UNTIMED),
    "untimed-beam": Case("noise", replace(UNTIMED, beam_size=4), THEIR_UNTIMED | {"beam_size": 4}),
    "prompt": case("dense", prompt="zero one two"),
    "previous-text": Case("dense", ONCE, {"prompt": "drei vier"}, previous_text=" drei vier"),
    "long-prompt": case("noise", prompt="one two three " * 200, max_tokens=25),
    "fills-the-context": case("noise", prompt="one two three " * 200),
    "prefix": case("en_zero_one_two", prefix="zero", language="en"),
    "language": case("de_drei_vier", language="en"),
    "translate": case("es_cinco_ocho", task="translate", language="es"),
    "translate-untimed": Case(
        "de_drei_vier",
        replace(UNTIMED, task="translate", language="de"),
        THEIR_UNTIMED | {"task": "translate", "language": "de"},
    ),
    "cut-short": case("dense", max_tokens=7),
    "cut-short-beam": case("dense", max_tokens=7, beam_size=5),
}


@pytest.fixture(scope="module")
def expected(reference: Whisper) -> dict[str, DecodingResult]:
    return {name: case.expected(reference) for name, case in CASES.items()}


def recorded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[str, Result]]:
    """By a job's id: language and raw decode, before segments without text are left out."""
    found: dict[int, tuple[str, Result]] = {}
    finish = engine.finish

    def recording(run: Run, result: Result) -> None:
        found[id(run.job)] = (run.detection.language, result)
        finish(run, result)

    monkeypatch.setattr(engine, "finish", recording)
    return found


@pytest.fixture
def results(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[str, Result]]:
    return recorded(demo, monkeypatch)


def assert_same(found: tuple[str, Result], expected: DecodingResult) -> None:
    language, result = found
    assert language == expected.language
    assert list(result.tokens) == expected.tokens
    assert result.avg_logprob == pytest.approx(expected.avg_logprob, abs=1e-4)
    assert result.no_speech_prob == pytest.approx(expected.no_speech_prob, abs=1e-5)
    assert result.compression_ratio == expected.compression_ratio
    assert result.temperature == expected.temperature


Results = dict[int, tuple[str, Result]]
Expected = dict[str, DecodingResult]


@pytest.mark.parametrize("name", CASES)
def test_alone(demo: Engine, results: Results, expected: Expected, name: str) -> None:
    job = CASES[name].job
    demo.decode([job])
    assert_same(results[id(job)], expected[name])


def test_all_in_one_batch(demo: Engine, results: Results, expected: Expected) -> None:
    jobs = {name: case.job for name, case in CASES.items()}
    demo.decode(list(jobs.values()))
    for name, job in jobs.items():
        assert_same(results[id(job)], expected[name])


@pytest.mark.parametrize("seed", range(int(os.environ.get("SCHEDULES", "3"))))
def test_joining_and_leaving_at_any_step(
    demo: Engine, results: Results, expected: Expected, seed: int
) -> None:
    chance = random.Random(seed)
    tickets = {name: Ticket(CASES[name].job) for name in chance.sample(list(CASES), 14)}
    n_cancelled = decode_in_disorder(demo, list(tickets.values()), chance)
    done = [name for name, ticket in tickets.items() if ticket.outcome]
    assert len(done) >= len(tickets) - n_cancelled
    for name in done:
        assert_same(results[id(tickets[name].job)], expected[name])


def decode_in_disorder(engine: Engine, tickets: list[Ticket], chance: random.Random) -> int:
    """Let jobs join whenever chance has it, and some leave before they are done; -> how many."""
    waiting, going, n_cancelled = list(tickets), [], 0
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


@pytest.mark.parametrize("thresholds", THRESHOLDS)
def test_failed_decodes_fall_back_to_the_same_temperature(
    demo: Engine, reference: Whisper, thresholds: dict[str, float | None]
) -> None:
    assert_same_fallback(demo, reference, thresholds)


def assert_same_fallback(
    engine: Engine, model: Whisper, thresholds: dict[str, float | None]
) -> None:
    ladder = (0.0, 0.4, 1.0)
    theirs = transcribed(model, AUDIO["dense"], temperature=ladder, language="en", **thresholds)
    options = replace(ONCE, temperatures=ladder, language="en", **thresholds)
    (answer,) = engine.decode([DecodeJob(AUDIO["dense"], options)])
    assert isinstance(answer, Hypothesis)
    ours = answer.segments[: len(theirs)]
    assert theirs[0]["temperature"] > 0
    assert [s.temperature for s in ours] == [s["temperature"] for s in theirs]
    assert [list(s.tokens) for s in ours] == [s["tokens"] for s in theirs]


@pytest.mark.parametrize("audio", ["dense", "en_four_seven_nine"])
def test_words_at_the_same_times(demo: Engine, reference: Whisper, audio: str) -> None:
    assert_same_words(demo, reference, full_window(audio) if audio in TEXTS else AUDIO[audio])


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


def test_language_probabilities(demo: Engine, reference: Whisper) -> None:
    mel = log_mel_spectrogram(pad_or_trim(AUDIO["de_drei_vier"]))
    _, theirs = whisper.detect_language(reference, mel)
    ours = demo.detect_language(AUDIO["de_drei_vier"]).probabilities
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_samples_are_the_same_in_any_company(demo: Engine) -> None:
    options = replace(OUR_SAMPLED, best_of=3)
    job = DecodeJob(AUDIO["noise"], options)
    (alone,) = demo.decode([job])
    answers = demo.decode([DecodeJob(AUDIO["dense"], options), job, job])
    assert [spoken(answer) == spoken(alone) for answer in answers] == [False, True, True]


def spoken(answer: object) -> list[int]:
    assert isinstance(answer, Hypothesis)
    return [token for segment in answer.segments for token in segment.tokens]
