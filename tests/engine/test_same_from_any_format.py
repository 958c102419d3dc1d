"""A model's words do not depend on the format its weights came in."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.model import Whisper

from tests import real
from tests.engine.checkpoints import (
    as_whisper,
    read_ctranslate2,
    write_ctranslate2,
    write_hugging_face,
)
from tests.engine.oracle import SORTS_WITH_NUMPY
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.precision import EXACT
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis

pytestmark = [pytest.mark.model, pytest.mark.real, SORTS_WITH_NUMPY]

LOADS_FOLDERS = find_spec("whisper_service.engine.checkpoints") is not None
WRITERS: dict[str, Callable[[Path, Whisper], None]] = {
    "transformers": write_hugging_face,
    "ctranslate2": write_ctranslate2,
    "ctranslate2-float32": lambda folder, model: write_ctranslate2(folder, model, np.float32),
}


@pytest.fixture(scope="module", params=real.MODELS)
def model(request: pytest.FixtureRequest) -> Whisper:
    model = as_whisper(real.real_weights(request.param)).float().eval()
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS[request.param])
    return model


def timed_words(engine: Engine) -> list[tuple[str, float, float]]:
    options = DecodeOptions(temperatures=(0.0,), language="en", timestamps="word")
    jobs = [DecodeJob(real.samples(real.CLIPS[name]), options) for name in ("jfk", "noisy")]
    answers = engine.decode(jobs)
    assert all(isinstance(answer, Hypothesis) for answer in answers)
    segments = [segment for answer in answers for segment in answer.segments]
    return [(word.text, word.start, word.end) for segment in segments for word in segment.words]


@pytest.mark.skipif(not LOADS_FOLDERS, reason="only openai-whisper's format can be loaded")
@pytest.mark.parametrize("form", WRITERS)
def test_a_folder_of_another_format_has_the_same_words(
    model: Whisper, form: str, tmp_path: Path
) -> None:
    expected = timed_words(Engine("mine", model, EXACT))
    WRITERS[form](tmp_path / "mine", model)
    engine = load_engine("mine", tmp_path, device="cpu", dtype="float32", can_download=False)
    assert timed_words(engine) == expected


def test_a_ctranslate2_folder_holds_the_same_tensors(model: Whisper, tmp_path: Path) -> None:
    write_ctranslate2(tmp_path / "mine", model)
    dims, state = read_ctranslate2(tmp_path / "mine")
    weights = model.state_dict()
    assert dims == model.dims
    assert {name for name in weights if "mask" not in name} == set(state)
    assert all(torch.equal(tensor, weights[name].half()) for name, tensor in state.items())
