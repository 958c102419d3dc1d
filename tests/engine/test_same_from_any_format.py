"""A model's words do not depend on the format its weights came in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import real
from tests.engine.folders import write_ctranslate2, write_huggingface, write_openai
from tests.engine.oracle import SORTS_WITH_NUMPY
from whisper_service.engine.checkpoints import Checkpoint, read_checkpoint
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.model import DIGESTS, load_model
from whisper_service.models.weight_files import Weights
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis

pytestmark = [pytest.mark.model, pytest.mark.real, SORTS_WITH_NUMPY]

Written = tuple[Callable[..., None], str, dict[str, Any], torch.dtype]
FORMS: dict[str, Written] = {
    "openai-whisper": (write_openai, "mine.pt", {}, torch.float16),
    "transformers": (write_huggingface, "mine", {}, torch.float32),
    "transformers, in shards": (write_huggingface, "mine", {"n_files": 3}, torch.float16),
    "ctranslate2": (write_ctranslate2, "mine", {}, torch.float16),
    "ctranslate2 in float32": (write_ctranslate2, "mine", {}, torch.float32),
}


@pytest.fixture(scope="module", params=real.MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(name: str) -> Checkpoint:
    return read_checkpoint(real.real_weights(name))


@pytest.fixture(scope="module")
def expected(name: str) -> list[tuple[str, float, float]]:
    """Of the model under its official name, as it was fetched."""
    folder = real.real_weights(name).parent
    return timed_words(load_engine(name, folder, device="cpu", dtype="float32"))


def timed_words(engine: Engine) -> list[tuple[str, float, float]]:
    options = DecodeOptions(temperatures=(0.0,), language="en", timestamps="word")
    jobs = [DecodeJob(real.samples(real.CLIPS[name]), options) for name in ("jfk", "noisy")]
    answers = engine.decode(jobs)
    assert all(isinstance(answer, Hypothesis) for answer in answers)
    segments = [segment for answer in answers for segment in answer.segments]
    return [(word.text, word.start, word.end) for segment in segments for word in segment.words]


LARGE = ("openai-whisper", "transformers", "ctranslate2")
"""What a larger model is tried in; the others would only be more of the same."""
CASES = [("tiny.en", form) for form in FORMS] + [("base", form) for form in LARGE]


@pytest.mark.parametrize(("name", "form"), CASES, indirect=["name"])
def test_the_words_are_the_same(
    name: str,
    checkpoint: Checkpoint,
    expected: list[tuple[str, float, float]],
    form: str,
    tmp_path: Path,
) -> None:
    write, file, more, dtype = FORMS[form]
    tensors = {key: tensor.to(dtype) for key, tensor in checkpoint.tensors.items()}
    if write is not write_openai:  # which has no place for them
        more = {**more, "heads": official_heads(name)}
    write(tmp_path / file, tensors, checkpoint.dims, **more)
    engine = load_engine("mine", tmp_path, device="cpu", dtype="float32")
    found = timed_words(engine)
    if write is write_openai:  # so its words are timed by all heads of the upper half
        assert [word for word, _, _ in found] == [word for word, _, _ in expected]
    else:
        assert found == expected


def official_heads(name: str) -> list[list[int]]:
    weights = Weights(real.real_weights(name))
    model = load_model(name, weights, torch.device("cpu"), torch.float32)
    heads: list[list[int]] = model.alignment_heads.indices().T.tolist()
    return heads


def test_its_numbers_are_openais(name: str, checkpoint: Checkpoint) -> None:
    assert checkpoint.digest() == DIGESTS[name]
