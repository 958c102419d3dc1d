"""openai-whisper's answers on real speech, kept: its weights and windows do not change.

    python -m tests.engine.answers FILE [MODEL ...]

writes them anew, for a quarter of an hour: of every window of tests/data/real and, where it is
there, of more speech. An answer is kept where it does not hang on the last bits, which another
processor has otherwise: it is the same after the encoder's output has been shifted by more than
those. Whatever is not kept, or was made of other weights, audio, options or versions,
openai-whisper is asked for when tests run; `REAL_ORACLE=fresh` asks it for everything, and holds
what is kept to what it says.
"""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from whisper.decoding import DecodingResult
from whisper.model import Whisper

from tests import real
from tests.engine.oracle import ONCE, Case, Expected, case, decoded, encoded
from whisper_service.engine.model import load_model
from whisper_service.models.weights import Weights

KEPT = Path(__file__).parents[1] / "data" / "real" / "answers.json"
N_WINDOWS = 60
"""Of more speech, for which answers are kept."""
IS_FRESH = os.environ.get("REAL_ORACLE") == "fresh"
SHIFT = 1e-4
"""Of an encoder's output that is about 1; float32 is sure of it to 1e-6 and a little."""
FACTS = ("language", "tokens", "avg_logprob", "no_speech_prob", "compression_ratio", "temperature")


def languages(model: Whisper) -> list[str]:
    """Of the windows that a model is tried on; none are all."""
    return [] if model.is_multilingual else ["en"]


def cases_of(model: Whisper, clips: Sequence[real.Clip]) -> dict[str, Case]:
    """Every window greedily; a third by beam search, a sixth with text before it."""
    language = None if model.is_multilingual else "en"
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


def expected(name: str, model: Whisper, cases: Mapping[str, Case]) -> Expected:
    """What openai-whisper makes of each case with the weights of the model of this name."""
    kept = kept_answers(name, model, cases)
    if not IS_FRESH:
        others = {label: asked for label, asked in cases.items() if label not in kept}
        return {**kept, **decoded(model, others)}
    fresh = decoded(model, cases)
    for label, answer in kept.items():
        assert_alike(answer, fresh[label], label)
    return fresh


def kept_answers(name: str, model: Whisper, cases: Mapping[str, Case]) -> Expected:
    """Those that were made of these weights, cases and versions."""
    file = _file()
    kept = file["models"].get(name, {})
    if file["versions"] != versions() or kept.get("weights") != digest_of_weights(model):
        return {}
    rows = {row["case"]: row for row in kept["answers"]}
    return {
        label: DecodingResult(audio_features=torch.empty(0), **{key: row[key] for key in FACTS})
        for label, asked in cases.items()
        if (row := rows.get(label)) and row["asked"] == digest_of(asked)
    }


@cache
def _file() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def versions() -> dict[str, str]:
    """Of all that has a part in an answer; torch draws the samples."""
    names = ("openai-whisper", "torch")
    return {name: version(name).partition("+")[0] for name in names}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def digest_of_weights(model: Whisper) -> str:
    parameters = sorted(model.named_parameters())
    return digest(b"".join(value.detach().numpy().tobytes() for _, value in parameters))


def digest_of(case: Case) -> str:
    """Of the samples and of what openai-whisper is asked to make of them."""
    return digest(case.audio.tobytes() + json.dumps(case.whisper, sort_keys=True).encode())


def assert_alike(kept: DecodingResult, fresh: DecodingResult, name: str) -> None:
    """That they are the same, but for the last bits."""
    assert (kept.language, kept.tokens) == (fresh.language, fresh.tokens), name
    assert abs(kept.avg_logprob - fresh.avg_logprob) < 1e-4, name
    assert abs(kept.no_speech_prob - fresh.no_speech_prob) < 1e-5, name
    assert kept.compression_ratio == fresh.compression_ratio, name


def stable(model: Whisper, cases: Mapping[str, Case]) -> Expected:
    """The answers that a shift of the encoder's output does not change."""
    features = encoded(model, cases.values())
    found = decoded(model, cases, features)
    noise = torch.Generator().manual_seed(0)
    shifted = {
        key: value + SHIFT * torch.randn(value.shape, generator=noise)
        for key, value in features.items()
    }
    others = decoded(model, cases, shifted)
    return {name: kept for name, kept in found.items() if kept.tokens == others[name].tokens}


def main(path: Path, *names: str) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    before = json.loads(path.read_text()) if path.exists() and names else {}
    models = before["models"] if before.get("versions") == versions() else {}
    for name in names or real.MODELS:
        weights = Weights(real.real_weights(name))
        model = load_model(name, weights, torch.device("cpu"), torch.float32)
        some = languages(model)
        own = [clip for clip in real.CLIPS.values() if not some or clip.language in some]
        cases = cases_of(model, own) | cases_of(model, real.windows(N_WINDOWS, some))
        answers = stable(model, cases)
        left_out = " ".join(sorted(set(cases) - set(answers))) or "none"
        sys.stdout.write(f"{name}: {len(answers)} answers are kept; left out are: {left_out}\n")
        rows = [
            {"case": label, "asked": digest_of(cases[label])}
            | {key: getattr(answer, key) for key in FACTS}
            for label, answer in answers.items()
        ]
        models[name] = {"weights": digest_of_weights(model), "answers": rows}
        text = json.dumps({"versions": versions(), "models": models})
        path.write_text(text.replace(' {"case"', '\n{"case"') + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
