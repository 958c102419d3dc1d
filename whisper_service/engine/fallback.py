"""When a decode has failed, and when a window is silent: the rules of `whisper.transcribe`."""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_service.types import DecodeOptions


@dataclass(frozen=True, slots=True)
class Result:
    """One decode of one window at one temperature."""

    tokens: tuple[int, ...]
    """Without the end of text, timestamps included."""
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float = 0.0


def needs_fallback(result: Result, options: DecodeOptions) -> bool:
    """Whether a decode is too repetitive or too improbable, and not just silence."""
    too_repetitive = _above(result.compression_ratio, options.compression_ratio_threshold)
    improbable = _below(result.avg_logprob, options.logprob_threshold)
    silent = improbable and _above(result.no_speech_prob, options.no_speech_threshold)
    return (too_repetitive or improbable) and not silent


def best(failed: Sequence[Result], options: DecodeOptions) -> Result:
    """The likeliest of the decodes that failed, of those not too repetitive if there are any.

    As faster-whisper does it; `whisper.transcribe` keeps the last, which is the most random.
    """
    limit = options.compression_ratio_threshold
    varied = [result for result in failed if not _above(result.compression_ratio, limit)]
    return max(varied or failed, key=lambda result: result.avg_logprob)


def is_silence(result: Result, options: DecodeOptions) -> bool:
    """Whether the window holds no speech, so that its text is made up."""
    confident = (
        options.logprob_threshold is not None and result.avg_logprob > options.logprob_threshold
    )
    return _above(result.no_speech_prob, options.no_speech_threshold) and not confident


def _above(value: float, threshold: float | None) -> bool:
    return threshold is not None and value > threshold


def _below(value: float, threshold: float | None) -> bool:
    return threshold is not None and value < threshold
