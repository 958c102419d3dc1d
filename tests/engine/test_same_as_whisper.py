"""Our decode loop in float32 against openai-whisper's, on the same weights and audio.

`SCHEDULES=50` lets jobs join and leave in so many random orders; by default in three.
"""

import os
import random
from dataclasses import replace

import numpy as np
import pytest
from whisper.model import Whisper

from tests.engine.oracle import (
    ONCE,
    SORTS_WITH_NUMPY,
    THRESHOLDS,
    Case,
    Expected,
    Results,
    assert_same,
    assert_same_fallback,
    assert_same_languages,
    assert_same_words,
    case,
    decode_in_disorder,
    decoded,
    recorded,
    spoken,
)
from tests.speech import TEXTS, speech
from whisper_service.engine.engine import Engine
from whisper_service.engine.request import Request
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES, Audio, DecodeJob

pytestmark = [pytest.mark.model, SORTS_WITH_NUMPY]


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


SAMPLED = {"temperature": 0.7, "sample_len": 30}
OUR_SAMPLED = replace(ONCE, temperatures=(0.7,), max_tokens=30)
UNTIMED = replace(ONCE, timestamps="none", max_tokens=30)
THEIR_UNTIMED = {"without_timestamps": True, "sample_len": 30}
CASES = {
    **{f"greedy-{name}": case(AUDIO[name]) for name in [*TEXTS, "dense"]},
    "greedy-noise": case(AUDIO["noise"], max_tokens=40),
    **{
        f"beam5-{name}": case(AUDIO[name], beam_size=5)
        for name in ["en_eight", "de_drei_vier", "dense"]
    },
    "beam5-noise": case(AUDIO["noise"], beam_size=5, max_tokens=25),
    "beam2-patient": case(AUDIO["dense"], beam_size=2, patience=2.0),
    "beam3-impatient": case(AUDIO["noise"], beam_size=3, patience=0.5, max_tokens=25),
    "beam3-length": case(AUDIO["dense"], beam_size=3, length_penalty=0.6),
    "sampled": Case(AUDIO["dense"], OUR_SAMPLED, SAMPLED),
    "sampled-noise": Case(AUDIO["noise"], OUR_SAMPLED, SAMPLED),
    "untimed": Case(AUDIO["dense"], UNTIMED, THEIR_UNTIMED),
    "untimed-beam": Case(
        AUDIO["noise"], replace(UNTIMED, beam_size=4), THEIR_UNTIMED | {"beam_size": 4}
    ),
    "prompt": case(AUDIO["dense"], prompt="zero one two"),
    "previous-text": case(AUDIO["dense"], previous_text=" drei vier"),
    "long-prompt": case(AUDIO["noise"], prompt="one two three " * 200, max_tokens=25),
    "fills-the-context": case(AUDIO["noise"], prompt="one two three " * 200),
    "prefix": case(AUDIO["en_zero_one_two"], prefix="zero", language="en"),
    "language": case(AUDIO["de_drei_vier"], language="en"),
    "translate": case(AUDIO["es_cinco_ocho"], task="translate", language="es"),
    "translate-untimed": Case(
        AUDIO["de_drei_vier"],
        replace(UNTIMED, task="translate", language="de"),
        THEIR_UNTIMED | {"task": "translate", "language": "de"},
    ),
    "cut-short": case(AUDIO["dense"], max_tokens=7),
    "cut-short-beam": case(AUDIO["dense"], max_tokens=7, beam_size=5),
}


@pytest.fixture(scope="module")
def expected(reference: Whisper) -> Expected:
    return decoded(reference, CASES)


@pytest.fixture
def results(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> Results:
    return recorded(demo, monkeypatch)


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
    requests = {name: Request(CASES[name].job) for name in chance.sample(list(CASES), 14)}
    n_cancelled = decode_in_disorder(demo, list(requests.values()), chance)
    done = [name for name, request in requests.items() if request.outcome]
    assert len(done) >= len(requests) - n_cancelled
    for name in done:
        assert_same(results[id(requests[name].job)], expected[name])


@pytest.mark.parametrize("thresholds", THRESHOLDS)
def test_failed_decodes_fall_back_to_the_same_temperature(
    demo: Engine, reference: Whisper, thresholds: dict[str, float | None]
) -> None:
    assert_same_fallback(demo, reference, AUDIO["dense"], thresholds)


@pytest.mark.parametrize("audio", ["dense", "en_four_seven_nine"])
def test_words_at_the_same_times(demo: Engine, reference: Whisper, audio: str) -> None:
    assert_same_words(demo, reference, full_window(audio) if audio in TEXTS else AUDIO[audio])


def test_language_probabilities(demo: Engine, reference: Whisper) -> None:
    assert_same_languages(demo, reference, AUDIO["de_drei_vier"])


def test_samples_are_the_same_in_any_company(demo: Engine) -> None:
    options = replace(OUR_SAMPLED, best_of=3)
    job = DecodeJob(AUDIO["noise"], options)
    (alone,) = demo.decode([job])
    answers = demo.decode([DecodeJob(AUDIO["dense"], options), job, job])
    assert [spoken(answer) == spoken(alone) for answer in answers] == [False, True, True]
