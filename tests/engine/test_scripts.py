"""A language of several scripts is written in the one that was asked for."""

import pytest

from tests import real
from tests.engine.oracle import SORTS_WITH_NUMPY
from whisper_service.api.schemas.fields import spoken
from whisper_service.engine.engine import load_engine
from whisper_service.types import DecodeJob, DecodeOptions, Hypothesis

pytestmark = [pytest.mark.model, pytest.mark.real, SORTS_WITH_NUMPY]


def test_chinese_is_written_in_the_script_of_the_tag() -> None:
    engine = load_engine("base", real.real_weights("base").parent, device="cpu", dtype="float32")
    audio = real.samples(real.CLIPS["chinese"])
    jobs = []
    for tag in ("zh-Hans", "zh-Hant"):
        language, prompt = spoken(tag, None)
        options = DecodeOptions(language=language, prompt=prompt, temperatures=(0.0,))
        jobs.append(DecodeJob(audio, options))
    simplified, traditional = engine.decode(jobs)
    assert isinstance(simplified, Hypothesis)
    assert isinstance(traditional, Hypothesis)
    assert "出现" in simplified.segments[0].text
    assert "出現" in traditional.segments[0].text
