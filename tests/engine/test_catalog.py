import subprocess
import sys
from pathlib import Path

import pytest
import whisper
from whisper.model import ModelDimensions, Whisper

from whisper_service.engine import catalog
from whisper_service.errors import ModelUnavailable, UnknownModel


def test_official_names_are_those_of_openai_whisper() -> None:
    assert set(catalog.OFFICIAL_NAMES) == set(whisper.available_models())


@pytest.mark.parametrize("name", catalog.OFFICIAL_NAMES)
def test_file_names_are_those_of_openai_whisper(name: str, tmp_path: Path) -> None:
    url = whisper._MODELS[name]
    assert catalog.weights_path(name, tmp_path) == tmp_path / url.split("/")[-1]


@pytest.mark.parametrize("name", ["tiny", "tiny.en"])
def test_parameters_are_counted_as_in_the_model(name: str) -> None:
    a = catalog.ARCHITECTURES[name]
    audio, text = (1500, a.n_state, 6, a.n_layers), (448, a.n_state, 6, a.n_text_layers)
    model = Whisper(ModelDimensions(a.n_mels, *audio, a.n_vocab, *text))
    assert a.n_parameters == sum(parameter.numel() for parameter in model.parameters())


def test_large_model_needs_more_memory_than_its_weights() -> None:
    large = catalog.ARCHITECTURES["large-v3"]
    assert 2 * large.n_parameters < large.memory_bytes < 8 * 1024**3


@pytest.mark.parametrize(
    "name",
    ["nonsense", "", ".", "..", "../demo", "/etc/passwd", "a/b", "a\\b", "demo\n", ".hidden",
     "%2e%2e", "x" * 65, "tiny\x00", "ünïcode"],
)  # fmt: skip
def test_unknown_or_unsafe_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "demo.pt").touch()
    with pytest.raises(UnknownModel) as caught:
        catalog.weights_path(name, tmp_path / "folder")
    assert "tiny" in caught.value.details["allowed"]
    assert caught.value.details["got"] == name[:80]


def test_own_checkpoint_in_the_folder_is_served_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine-v2.pt").touch()
    assert catalog.find_weights("mine-v2", tmp_path, can_download=False) == tmp_path / "mine-v2.pt"
    assert catalog.known_names(tmp_path)[-1] == "mine-v2"


def test_missing_weights_are_unavailable_and_the_message_says_where_to_put_them(
    tmp_path: Path,
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        catalog.find_weights("turbo", tmp_path, can_download=False)
    assert str(tmp_path / "large-v3-turbo.pt") in caught.value.message
    assert caught.value.details["model"] == "turbo"


def test_aliases_are_one_model() -> None:
    assert catalog.canonical_name("large") == catalog.canonical_name("large-v3") == "large-v3"
    assert catalog.canonical_name("turbo") == "large-v3-turbo"
    assert catalog.canonical_name("mine") == "mine"


def test_list_says_what_is_there_loaded_and_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "tiny.en.pt").touch()
    models = {m.name: m for m in catalog.list_models(tmp_path, {"large-v3"}, can_download=True)}
    assert models["tiny.en"].has_weights
    assert not models["tiny.en"].is_multilingual
    assert models["large"].is_loaded
    assert not models["base"].has_weights
    assert models["base"].can_download
    assert not models["demo"].can_download


def test_catalog_needs_no_torch() -> None:
    code = "import sys, whisper_service.engine.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
