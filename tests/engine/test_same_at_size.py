"""The same as test_same_as_whisper.py, with `demo` grown to tiny's true size, and by graphs.

`OPENAI_WHISPER_CASES=all` decodes every case; by default some of each kind, to stay quick.
"""

import os
import random
from pathlib import Path

import pytest
import torch
from whisper.model import ModelDimensions, Whisper

from benchmarks.grow import SIZES, grow
from tests.engine.oracle import (
    SORTS_WITH_NUMPY,
    THRESHOLDS,
    Expected,
    assert_same,
    assert_same_fallback,
    assert_same_languages,
    assert_same_words,
    decode_in_disorder,
    decoded,
    recorded,
)
from tests.engine.test_same_as_whisper import AUDIO, CASES
from whisper_service.engine.engine import Engine
from whisper_service.engine.precision import EXACT
from whisper_service.engine.request import Request

pytestmark = [pytest.mark.model, SORTS_WITH_NUMPY]

SOME = (
    *("greedy-en_eight", "greedy-de_drei_vier", "beam5-en_eight", "untimed", "prompt", "prefix"),
    *("translate", "cut-short-beam", "sampled", "beam2-patient"),
)
IS_ALL = os.environ.get("OPENAI_WHISPER_CASES") == "all"
NAMES = tuple(CASES) if IS_ALL else SOME


@pytest.fixture(scope="module")
def tiny(demo_path: Path) -> Whisper:
    """In memory; growing takes a second."""
    grown = grow(torch.load(demo_path, map_location="cpu"), SIZES["tiny"])
    model = Whisper(ModelDimensions(**grown["dims"]))
    model.load_state_dict(grown["model_state_dict"])
    return model.eval()


@pytest.fixture(scope="module")
def expected(tiny: Whisper) -> Expected:
    return decoded(tiny, {name: CASES[name] for name in NAMES})


def test_a_mixed_batch_at_tinys_size(
    tiny: Whisper, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine("tiny", tiny, EXACT)
    found = recorded(engine, monkeypatch)
    jobs = {name: CASES[name].job for name in NAMES}
    engine.decode(list(jobs.values()))
    for name, job in jobs.items():
        assert_same(found[id(job)], expected[name])


def test_joining_and_leaving_at_tinys_size(
    tiny: Whisper, expected: Expected, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine("tiny", tiny, EXACT)
    found = recorded(engine, monkeypatch)
    requests = {name: Request(CASES[name].job) for name in NAMES}
    n_cancelled = decode_in_disorder(engine, list(requests.values()), random.Random(0))
    done = [name for name, request in requests.items() if request.outcome]
    assert len(done) >= len(requests) - n_cancelled > 0
    for name in done:
        assert_same(found[id(requests[name].job)], expected[name])


@pytest.mark.parametrize("thresholds", THRESHOLDS if IS_ALL else THRESHOLDS[:1])
def test_the_fallback_at_tinys_size(tiny: Whisper, thresholds: dict[str, float | None]) -> None:
    assert_same_fallback(Engine("tiny", tiny, EXACT), tiny, AUDIO["dense"], thresholds)


def test_the_words_times_at_tinys_size(tiny: Whisper) -> None:
    assert_same_words(Engine("tiny", tiny, EXACT), tiny, AUDIO["dense"])


def test_the_languages_chances_at_tinys_size(tiny: Whisper) -> None:
    assert_same_languages(Engine("tiny", tiny, EXACT), tiny, AUDIO["de_drei_vier"])
