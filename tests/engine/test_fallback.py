from dataclasses import replace

import pytest

from whisper_service.engine.fallback import Result, best, is_silence, needs_fallback
from whisper_service.types import DecodeOptions

OPTIONS = DecodeOptions()
GOOD = Result(tokens=(), avg_logprob=-0.3, no_speech_prob=0.0, compression_ratio=1.2)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (GOOD, False),
        (replace(GOOD, compression_ratio=2.5), True),
        (replace(GOOD, avg_logprob=-1.1), True),
        (replace(GOOD, avg_logprob=-1.1, no_speech_prob=0.7), False),
        (replace(GOOD, compression_ratio=2.5, no_speech_prob=0.7), True),
    ],
)
def test_repetitive_or_improbable_text_is_tried_again_but_not_silence(
    result: Result, expected: bool
) -> None:
    assert needs_fallback(result, OPTIONS) is expected


def test_of_decodes_that_all_failed_the_likeliest_is_kept_but_no_loop() -> None:
    first, random = replace(GOOD, avg_logprob=-1.1), replace(GOOD, avg_logprob=-3.0)
    loop = replace(GOOD, avg_logprob=-0.1, compression_ratio=9.0)
    assert best([loop, first, random], OPTIONS) is first
    assert best([loop, replace(random, compression_ratio=9.0)], OPTIONS) is loop


def test_no_threshold_accepts_everything() -> None:
    options = replace(OPTIONS, compression_ratio_threshold=None, logprob_threshold=None)
    assert not needs_fallback(replace(GOOD, compression_ratio=9, avg_logprob=-9), options)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (GOOD, False),
        (replace(GOOD, no_speech_prob=0.7), False),
        (replace(GOOD, no_speech_prob=0.7, avg_logprob=-1.1), True),
        (replace(GOOD, avg_logprob=-1.1), False),
    ],
)
def test_silence_is_a_window_without_speech_and_without_confident_text(
    result: Result, expected: bool
) -> None:
    assert is_silence(result, OPTIONS) is expected
