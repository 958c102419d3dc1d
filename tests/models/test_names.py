import subprocess
import sys

import pytest
import whisper
from whisper.model import ModelDimensions, Whisper

from whisper_service.models import names
from whisper_service.models.openai_host import PUBLIC_URL, SHA256

SERVED = frozenset({"base", "small", "demo", "mine"})


def test_official_names_are_those_of_openai_whisper() -> None:
    assert set(names.OFFICIAL_NAMES) == set(whisper.available_models())


@pytest.mark.parametrize("name", names.OFFICIAL_NAMES)
def test_addresses_and_checksums_are_those_of_openai_whisper(name: str) -> None:
    name_of_file = names.canonical_name(name)
    assert whisper._MODELS[name] == f"{PUBLIC_URL}/{SHA256[name_of_file]}/{name_of_file}.pt"


@pytest.mark.parametrize("name", ["tiny", "tiny.en"])
def test_parameters_are_counted_as_in_the_model(name: str) -> None:
    a = names.ARCHITECTURES[name]
    audio, text = (1500, a.n_state, 6, a.n_layers), (448, a.n_state, 6, a.n_text_layers)
    model = Whisper(ModelDimensions(a.n_mels, *audio, a.n_vocab, *text))
    assert a.n_parameters == sum(parameter.numel() for parameter in model.parameters())


def test_large_model_needs_more_memory_than_its_weights() -> None:
    large = names.ARCHITECTURES["large-v3"]
    assert 2 * large.n_parameters < large.memory_bytes < 8 * 1024**3


@pytest.mark.parametrize(
    ("name", "official"),
    [
        ("base", "base"),
        ("large", "large-v3"),
        ("turbo", "large-v3-turbo"),
        ("whisper-base", "base"),
        ("whisper-large-v3-turbo", "large-v3-turbo"),
        ("openai/whisper-base", "base"),
        ("openai/whisper-tiny.en", "tiny.en"),
        ("openai/whisper-large", "large-v1"),
        ("OpenAI/Whisper-Large-v3", "large-v3"),
        ("Systran/faster-whisper-base", "base"),
        ("faster-whisper-small.en", "small.en"),
        ("deepdml/faster-whisper-large-v3-turbo-ct2", "large-v3-turbo"),
        ("somebody/whisper-base", None),
        ("openai/whisper-huge", None),
        ("distil-whisper/distil-large-v3.5", None),
        ("whisper-", None),
        ("", None),
    ],
)
def test_published_names_mean_the_official_model(name: str, official: str | None) -> None:
    assert names.official_name(name) == official


@pytest.mark.parametrize(
    ("name", "means"),
    [
        (None, "base"),
        ("", "base"),
        ("whisper-1", "base"),
        ("gpt-4o-transcribe", "base"),
        ("gpt-4o-mini-transcribe", "base"),
        ("gpt-4o-mini-transcribe-2025-12-15", "base"),
        ("gpt-4o-transcribe-diarize", "gpt-4o-transcribe-diarize"),
        ("openai/whisper-small", "small"),
        ("mine", "mine"),
        ("theirs", "small"),
        ("nova-3", "base"),
        ("tts-1", "tts-1"),
    ],
)
def test_a_request_may_use_its_clients_words(name: str | None, means: str) -> None:
    aliases = {"theirs": "openai/whisper-small"}
    assert names.resolve_name(name, "base", SERVED, aliases) == means


def test_an_operators_words_come_before_all_others() -> None:
    served = SERVED | {"whisper-base"}
    assert names.resolve_name("whisper-base", "base", served, {}) == "whisper-base"
    assert names.resolve_name("whisper-1", "base", served, {"whisper-1": "mine"}) == "mine"


def test_the_default_may_go_by_a_published_name() -> None:
    assert names.resolve_name(None, "openai/whisper-small", SERVED, {}) == "small"
    assert names.resolve_name("whisper-1", "whisper-1", SERVED, {}) == "whisper-1"


@pytest.mark.parametrize("module", ["names", "store"])
def test_names_and_sources_need_no_torch(module: str) -> None:
    code = f"import sys, whisper_service.models.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
