from pathlib import Path

import pytest
from pydantic import ValidationError

from whisper_service.settings import REMOVED, Settings, is_loopback, misspelt_variables


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    import os

    for name in os.environ:
        if name.startswith("WHISPER_"):
            monkeypatch.delenv(name)


def test_a_field_is_an_environment_variable(monkeypatch):
    monkeypatch.setenv("WHISPER_DEFAULT_MODEL", "small")
    monkeypatch.setenv("WHISPER_MAX_STREAMS", "7")
    settings = Settings()
    assert (settings.default_model, settings.max_streams) == ("small", 7)


def test_an_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("WHISPER_DEFAULT_MODEL", "small")
    assert Settings(default_model="demo").default_model == "demo"


def test_lists_are_comma_separated(monkeypatch):
    monkeypatch.setenv("WHISPER_PRELOAD_MODELS", "base, small,")
    assert Settings().preload_models == ("base", "small")


def test_lists_may_be_lists_in_yaml():
    assert Settings(cors_origins=["https://a.example"]).cors_origins == ("https://a.example",)


def test_an_unknown_argument_is_refused():
    with pytest.raises(ValidationError, match="default_modle"):
        Settings(default_modle="base")


@pytest.mark.parametrize(
    "fields",
    [
        {"max_streams": 0},
        {"port": 70_000},
        {"device": "tpu"},
        {"asr_num_cpus": 0},
        {"upload_timeout": "inf"},
        {"max_audio_seconds": float("nan")},
    ],
)
def test_a_value_that_cannot_work_is_refused(fields):
    with pytest.raises(ValidationError):
        Settings(**fields)


def test_the_default_model_is_what_is_preloaded():
    assert Settings(default_model="demo").models_to_preload == ("demo",)
    assert Settings(preload_models="base").models_to_preload == ("base",)


def test_the_model_folder_may_be_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert Settings(model_dir="~/models").weights_dir == Path("/home/someone/models")


@pytest.mark.parametrize(("decode_timeout", "stuck_timeout"), [(300, 120), (900, 360), (5, 10)])
def test_a_replica_that_stands_still_is_replaced_before_its_windows_time_is_up(
    decode_timeout, stuck_timeout
):
    assert Settings(decode_timeout=decode_timeout).stuck_timeout == pytest.approx(stuck_timeout)


def test_the_key_is_not_printed():
    assert "secret" not in repr(Settings(resume_key="secret"))


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_field_is_described_in_a_sentence(name):
    description = Settings.model_fields[name].description
    assert description is not None
    assert description.endswith(".")


def test_the_log_level_may_be_in_lower_case(monkeypatch):
    monkeypatch.setenv("WHISPER_LOG_LEVEL", "debug")
    assert Settings().log_level == "DEBUG"


def test_a_misspelt_variable_is_told_with_the_nearest_setting():
    environment = ["WHISPER_MAX_STREAM", "WHISPER_PORT", "PATH", "WHISPER_CLIENT_KEY"]
    (sentence,) = misspelt_variables(environment)
    assert sentence.startswith("WHISPER_MAX_STREAM is no setting")
    assert sentence.endswith("did you mean WHISPER_MAX_STREAMS?")
    assert "--help" in misspelt_variables(["WHISPER_QQQQQQQQ"])[0]


@pytest.mark.parametrize("name", REMOVED)
def test_a_setting_that_is_gone_is_told_with_what_stands_in_its_place(name):
    assert name not in Settings.model_fields
    (sentence,) = misspelt_variables([f"WHISPER_{name.upper()}"])
    assert sentence.startswith(f"WHISPER_{name.upper()} is no setting any more and does nothing: ")
    assert sentence.endswith(f"{REMOVED[name]}.")
    with pytest.raises(ValidationError, match=f"{name} is no setting any more: "):
        Settings(**{name: 1})


def test_an_address_is_loopback_or_is_not():
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.1.2.3", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "localhost.example", ""]))
