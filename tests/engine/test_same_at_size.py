"""The same as test_same_as_whisper.py, with `demo` grown to tiny's true size, and by graphs.

`OPENAI_WHISPER_CASES=all` decodes every case; by default some of each kind, to stay quick.
"""

import os
from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import ModelDimensions, Whisper

from benchmarks.grow import SIZES, grow
from tests.engine.test_same_as_whisper import CASES, assert_same, recorded
from whisper_service.engine.engine import Engine
from whisper_service.engine.fallback import Result
from whisper_service.engine.precision import EXACT
from whisper_service.types import DecodeJob

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

SOME = (
    *("greedy-en_eight", "greedy-de_drei_vier", "beam5-en_eight", "untimed", "prompt", "prefix"),
    *("translate", "cut-short-beam", "sampled", "beam2-patient"),
)
NAMES = tuple(CASES) if os.environ.get("OPENAI_WHISPER_CASES") == "all" else SOME


@pytest.fixture(scope="module")
def tiny(demo_path: Path) -> Whisper:
    """In memory; growing takes a second."""
    grown = grow(torch.load(demo_path, map_location="cpu"), SIZES["tiny"])
    model = Whisper(ModelDimensions(**grown["dims"]))
    model.load_state_dict(grown["model_state_dict"])
    return model.eval()


def raw_decodes(
    engine: Engine, jobs: list[DecodeJob], monkeypatch: pytest.MonkeyPatch
) -> dict[int, tuple[str, Result]]:
    found = recorded(engine, monkeypatch)
    engine.decode(jobs)
    return found


def test_a_mixed_batch_at_tinys_size(tiny: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {name: CASES[name].job for name in NAMES}
    found = raw_decodes(Engine("tiny", tiny, EXACT), list(jobs.values()), monkeypatch)
    for name, job in jobs.items():
        assert_same(found[id(job)], CASES[name].expected(tiny))


def test_the_languages_chances_at_tinys_size(tiny: Whisper) -> None:
    audio = CASES["greedy-de_drei_vier"].job.audio
    mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(audio))
    _, theirs = whisper.detect_language(tiny, mel)
    ours = Engine("tiny", tiny, EXACT).detect_language(audio).probabilities
    assert ours == pytest.approx(theirs, abs=1e-5)
