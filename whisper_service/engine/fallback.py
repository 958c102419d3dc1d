"""Decode a batch of rows, and the failed ones again at a higher temperature.

Search, sampling and logit rules are openai-whisper's own (`whisper.decoding`); the rules of when a
decode has failed are those of `whisper.transcribe`, row by row.
"""

from collections.abc import Sequence

import torch
from whisper.decoding import DecodingOptions, DecodingResult, DecodingTask
from whisper.model import Whisper

from whisper_service.types import DecodeOptions


def decode_with_fallback(
    model: Whisper,
    features: torch.Tensor,
    options: DecodeOptions,
    languages: Sequence[str],
    prompt: Sequence[int],
) -> list[DecodingResult]:
    """Decode `features` [B, 1500, n_state]; only failed rows go on to the next temperature."""
    results: list[DecodingResult] = [None] * len(features)
    rows = list(range(len(features)))
    for temperature in options.temperatures:
        task_options = _task_options(model, options, prompt, temperature)
        decoded = _decode(model, features[rows], task_options, [languages[row] for row in rows])
        for row, result in zip(rows, decoded, strict=True):
            results[row] = result
        rows = [row for row in rows if needs_fallback(results[row], options)]
        if not rows:
            break
    return results


def needs_fallback(result: DecodingResult, options: DecodeOptions) -> bool:
    """Whether a decode is too repetitive or too improbable, and not just silence."""
    too_repetitive = _above(result.compression_ratio, options.compression_ratio_threshold)
    improbable = _below(result.avg_logprob, options.logprob_threshold)
    silent = improbable and _above(result.no_speech_prob, options.no_speech_threshold)
    return (too_repetitive or improbable) and not silent


def is_silence(result: DecodingResult, options: DecodeOptions) -> bool:
    """Whether the window holds no speech, so that its text is made up."""
    confident = options.logprob_threshold is not None and bool(
        result.avg_logprob > options.logprob_threshold
    )
    return _above(result.no_speech_prob, options.no_speech_threshold) and not confident


def _above(value: float, threshold: float | None) -> bool:
    return threshold is not None and bool(value > threshold)


def _below(value: float, threshold: float | None) -> bool:
    return threshold is not None and bool(value < threshold)


class _Task(DecodingTask):  # type: ignore[misc]  # openai-whisper has no types
    """openai-whisper's task over encoded features of any dtype, each row in its own language.

    The original takes only float16 and float32, would encode again for every temperature, and
    knows one language for the batch, or detects them and does not say how sure it is.
    """

    def __init__(self, model: Whisper, options: DecodingOptions, languages: Sequence[str]) -> None:
        super().__init__(model, options)
        self._languages = list(languages)

    def _get_audio_features(self, mel: torch.Tensor) -> torch.Tensor:
        return mel

    def _detect_language(
        self, audio_features: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[list[str], None]:
        if self.model.is_multilingual:
            column = [self.tokenizer.to_language_token(code) for code in self._languages]
            tokens[:, self.sot_index + 1] = torch.tensor(column)
        return self._languages, None


def _decode(
    model: Whisper, features: torch.Tensor, options: DecodingOptions, languages: Sequence[str]
) -> list[DecodingResult]:
    """Decode all rows in one batch; beams one row at a time.

    openai-whisper 20250625 repeats the tokens for each beam, but not the features, which works
    for one row by broadcasting and fails for more.
    """
    if not options.beam_size:
        results: list[DecodingResult] = _Task(model, options, languages).run(features)
        return results
    return [
        _Task(model, options, [language]).run(row[None])[0]
        for row, language in zip(features, languages, strict=True)
    ]


def _task_options(
    model: Whisper,
    options: DecodeOptions,
    prompt: Sequence[int],
    temperature: float,
) -> DecodingOptions:
    longest: int = model.dims.n_text_ctx // 2
    return DecodingOptions(
        task=options.task,
        temperature=temperature,
        sample_len=min(options.max_tokens or longest, longest),
        beam_size=options.beam_size if temperature == 0 else None,
        prompt=list(prompt),
        without_timestamps=options.timestamps == "none",
    )
