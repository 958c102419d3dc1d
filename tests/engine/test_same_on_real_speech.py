"""Real weights on real speech: in float32 ours has openai-whisper's tokens, times and languages.

`REAL_WINDOWS=60` compares so many windows of each model, a third of them by beam search too; by
default fewer, to stay quick.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.model import Whisper

from tests import real
from tests.engine.oracle import (
    ONCE,
    SORTS_WITH_NUMPY,
    THRESHOLDS,
    Case,
    Expected,
    assert_same,
    assert_same_fallback,
    assert_same_languages,
    assert_same_words,
    case,
    decode_in_disorder,
    decoded,
    recorded,
)
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.model import load_model
from whisper_service.engine.request import Request
from whisper_service.models.weight_files import Weights
from whisper_service.policy.text import normalized
from whisper_service.types import SAMPLE_RATE, WINDOW_SAMPLES, DecodeJob, Hypothesis, Word

pytestmark = [pytest.mark.model, pytest.mark.real, SORTS_WITH_NUMPY]

N_WINDOWS = int(os.environ.get("REAL_WINDOWS", "12"))


@dataclass(frozen=True, slots=True)
class Both:
    """A model as ours and as openai-whisper's, and what the latter makes of each case."""

    engine: Engine
    whisper: Whisper
    cases: dict[str, Case]
    expected: Expected


@pytest.fixture(scope="module", params=real.MODELS)
def both(request: pytest.FixtureRequest) -> Iterator[Both]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    name: str = request.param
    path = real.real_weights(name)
    model = load_model(name, Weights(path), torch.device("cpu"), torch.float32)
    engine = load_engine(name, path.parent, device="cpu", dtype="float32")
    engine.warm_up()
    torch.set_num_threads(os.cpu_count() or 1)
    cases = cases_of(model)
    yield Both(engine, model, cases, decoded(model, cases))
    torch.set_num_threads(n_threads)


def cases_of(model: Whisper) -> dict[str, Case]:
    """Every window greedily; a third by beam search, a sixth with text before it."""
    language = None if model.is_multilingual else "en"
    clips = real.windows(N_WINDOWS, [] if model.is_multilingual else ["en"])
    cases: dict[str, Case] = {}
    for number, clip in enumerate(clips):
        audio, name = real.samples(clip), f"{clip.set_name}-{clip.name}"
        cases[f"greedy-{name}"] = case(audio, language=language)
        if number % 3 == 1:
            cases[f"beam5-{name}"] = case(audio, language=language, beam_size=5)
        if number % 6 == 0:
            cases[f"prompt-{name}"] = case(audio, language=language, prompt="Mr. Dale, New York.")
        if number % 6 == 3:
            cases[f"previous-text-{name}"] = case(audio, " And so it was.", language=language)
        if number % 6 == 5:
            sampled = replace(ONCE, temperatures=(0.7,), language=language, max_tokens=30)
            asked = {"temperature": 0.7, "sample_len": 30, "language": language}
            cases[f"sampled-{name}"] = Case(audio, sampled, asked)
    return cases


def test_alone(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recorded(both.engine, monkeypatch)
    for name in list(both.cases)[::2]:
        job = both.cases[name].job
        both.engine.decode([job])
        assert_same(found[id(job)], both.expected[name])


def test_all_in_one_batch(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recorded(both.engine, monkeypatch)
    jobs = {name: case.job for name, case in both.cases.items()}
    both.engine.decode(list(jobs.values()))
    for name, job in jobs.items():
        assert_same(found[id(job)], both.expected[name])


def test_joining_and_leaving_at_any_step(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recorded(both.engine, monkeypatch)
    chance = random.Random(0)
    names = chance.sample(list(both.cases), (len(both.cases) + 1) // 2)
    requests = {name: Request(both.cases[name].job) for name in names}
    n_cancelled = decode_in_disorder(both.engine, list(requests.values()), chance)
    done = [name for name, request in requests.items() if request.outcome]
    assert len(done) >= len(requests) - n_cancelled > 0
    for name in done:
        assert_same(found[id(requests[name].job)], both.expected[name])


@pytest.mark.parametrize("thresholds", THRESHOLDS)
def test_failed_decodes_fall_back_to_the_same_temperature(
    both: Both, thresholds: dict[str, float | None]
) -> None:
    assert_same_fallback(both.engine, both.whisper, window("jfk"), thresholds)


@pytest.mark.parametrize("name", ["jfk", "live"])
def test_words_at_the_same_times(both: Both, name: str) -> None:
    assert_same_words(both.engine, both.whisper, window(name))


@pytest.mark.parametrize("name", ["jfk", "german-1", "chinese", "french"])
def test_language_probabilities(both: Both, name: str) -> None:
    if not both.whisper.is_multilingual:
        pytest.skip("an English model detects no language")
    assert_same_languages(both.engine, both.whisper, window(name))


def test_five_seconds_of_silence_instead_of_thirty(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    speech, n_frames = real.samples(real.CLIPS["jfk"]), 800  # 11 s and 5 s
    encoder, positions = both.whisper.encoder, both.whisper.encoder.positional_embedding
    monkeypatch.setattr(encoder, "positional_embedding", positions[:n_frames])
    monkeypatch.setattr(both.whisper.dims, "n_audio_ctx", n_frames)
    mel = log_mel_spectrogram(pad_or_trim(speech, 16 * SAMPLE_RATE), both.whisper.dims.n_mels)
    asked = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False)
    expected = whisper.decode(both.whisper, mel, asked)
    found = recorded(both.engine, monkeypatch)
    options = replace(ONCE, language="en", timestamps="none")
    alone, padded = DecodeJob(speech, options), DecodeJob(speech, options, padding=5.0)
    both.engine.decode([alone, padded])
    assert_same(found[id(padded)], expected)
    assert found[id(alone)][1].avg_logprob != found[id(padded)][1].avg_logprob


@pytest.mark.parametrize("n_said", [8, 14])  # both times in mid-sentence
def test_after_a_prefix_the_rest_is_said_at_the_same_times(both: Both, n_said: int) -> None:
    whole = words_of(both, DecodeJob(window("jfk"), WORDS))
    prefix = "".join(word.text for word in whole[:n_said]).rstrip(",.!")
    rest = words_of(both, DecodeJob(window("jfk"), WORDS, prefix=prefix))
    said = "".join(word.text for word in whole)
    assert normalized(prefix + "".join(word.text for word in rest)) == normalized(said)
    timed = [word for word in rest if normalized(word.text)]
    assert [word.start for word in timed] == pytest.approx(
        [word.start for word in whole[n_said:]], abs=0.3
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_tokens": 9},
        {"temperatures": (0.0, 0.8), "logprob_threshold": 0.0, "best_of": 2},
        {"timestamps": "segment"},
    ],
    ids=str,
)
def test_no_answer_depends_on_its_draft(
    both: Both, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    found = recorded(both.engine, monkeypatch)
    wanted = replace(ONCE, language="en", **{"timestamps": "none", **options})
    prefix = "" if "timestamps" in options else " And so my fellow Americans,"
    plain = DecodeJob(real.samples(real.CLIPS["jfk"]), wanted, prefix=prefix, padding=5.0)
    (answer,) = both.engine.decode([plain])
    assert isinstance(answer, Hypothesis)
    drafts = drafts_of("".join(segment.text for segment in answer.segments))
    jobs = [replace(plain, draft=draft) for draft in drafts]
    both.engine.decode([plain, *jobs])
    for job in jobs:
        assert found[id(job)][1].tokens == found[id(plain)][1].tokens
        assert found[id(job)][1].avg_logprob == pytest.approx(
            found[id(plain)][1].avg_logprob, abs=1e-4
        )


def drafts_of(said: str) -> list[str]:
    """Right, right for a while, wrong at once, and longer than a decode can be."""
    return [
        said,
        said[: len(said) // 2],
        said[:30] + " zebra" + said[30:],
        " Zebra" + said,
        said + 500 * " zebra",
        said[:30] + "<|endoftext|><|0.00|>",
    ]


WORDS = replace(ONCE, language="en", timestamps="word")


def words_of(both: Both, job: DecodeJob) -> list[Word]:
    (answer,) = both.engine.decode([job])
    assert isinstance(answer, Hypothesis)
    return [word for segment in answer.segments for word in segment.words]


def window(name: str) -> real.Audio:
    """The start of a clip, then silence to the end of a full window: there `transcribe` takes its
    spectrogram from zeros behind the audio, `decode` from its mirror."""
    speech = real.samples(real.CLIPS[name])[: WINDOW_SAMPLES - SAMPLE_RATE // 2]
    return np.pad(speech, (0, WINDOW_SAMPLES - len(speech)))
