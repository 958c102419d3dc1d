"""The process: settings in, application out, and what the person at the terminal is told."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve._private.build_app import build_app
from ray.serve._private.common import DeploymentID
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ServeDeploySchema,
)

import main
from whisper_service.keys.file import KeysError
from whisper_service.serving import deployments, local, proxy
from whisper_service.settings import Settings

ROOT = Path(__file__).parents[1]


def options(application: Application) -> dict[str, Any]:
    """The deployments' options by name, as Serve sees them."""
    built = build_app(application, name="test", make_deployment_handle=_fake_handle)
    return {deployment.name: deployment for deployment in built.deployments}


def _fake_handle(deployment: Any, _: str) -> DeploymentID:
    return DeploymentID(name=deployment.name)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_serve_builds_the_application_from_args_that_win_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WHISPER_MAX_BATCH_SIZE", "11")
    monkeypatch.setenv("WHISPER_ASR_NUM_CPUS", "3")
    args = {"max_batch_size": 12}
    application = call_user_app_builder_with_args_if_necessary(main.app, args)
    asr = options(application)["WhisperASR"]
    assert asr.max_ongoing_requests == 48
    assert asr.ray_actor_options == {"num_cpus": 3, "num_gpus": 0}


def test_settings_decide_the_deployments_options() -> None:
    settings = Settings(max_streams=10, drain_timeout=77)
    deployments = options(main.app(settings))
    asr, service = deployments["WhisperASR"], deployments["WhisperService"]
    assert asr._deployment_config.autoscaling_config.max_replicas == 1
    assert service._deployment_config.autoscaling_config.max_replicas == 1
    assert service._deployment_config.autoscaling_config.target_ongoing_requests == 5
    assert service._deployment_config.graceful_shutdown_timeout_s == 77
    assert service._deployment_config.max_surge_percent == 100
    assert asr._deployment_config.health_check_period_s <= 2


def test_no_gpu_is_asked_for_where_there_is_none() -> None:
    asr = options(main.app(Settings()))["WhisperASR"]
    assert asr.ray_actor_options["num_gpus"] == 0


def test_all_replicas_sign_resume_tokens_with_one_key() -> None:
    service = options(main.app(Settings()))["WhisperService"]
    assert service.init_args[0].resume_key
    kept = options(main.app(Settings(resume_key="mine")))["WhisperService"]
    assert kept.init_args[0].resume_key == "mine"


def test_config_file_can_override_the_deployments_by_name() -> None:
    names = list(options(main.app(Settings())))
    overrides = [{"name": name, "max_ongoing_requests": 5} for name in names]
    application = {"name": "whisper", "import_path": "main:app", "deployments": overrides}
    config = ServeDeploySchema(applications=[application])
    assert set(names) == {"WhisperService", "WhisperASR"}
    assert [d.max_ongoing_requests for d in config.applications[0].deployments] == [5, 5]


def test_building_the_application_needs_no_torch() -> None:
    code = """
import sys, main
from whisper_service.settings import Settings
import whisper_service.api.app
main.app(Settings())
sys.exit("torch" in sys.modules or "whisper" in sys.modules)
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_help_lists_every_setting_with_its_default() -> None:
    done = python("-m", "main", "--help")
    assert done.returncode == 0
    for name in Settings.model_fields:
        assert f"WHISPER_{name.upper()}=" in done.stdout
    assert "WHISPER_PORT=8000" in done.stdout


def test_taken_port_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = python("-m", "main", WHISPER_PORT=str(port), WHISPER_DASHBOARD_PORT="0")
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be had" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_setting_is_said_by_the_name_of_its_variable() -> None:
    done = python("-m", "main", WHISPER_MAX_BATCH_SIZE="none")
    assert done.returncode == 1
    assert "WHISPER_MAX_BATCH_SIZE" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_secret_that_is_wrong_is_not_shown() -> None:
    done = python("-m", "main", WHISPER_WEBHOOK_SECRET="not-a-secret-of-24-bytes")
    assert done.returncode == 1
    assert "WHISPER_WEBHOOK_SECRET" in done.stderr
    assert "not-a-secret" not in done.stderr


def test_required_keys_that_are_missing_are_said_at_once() -> None:
    done = python("-m", "main", WHISPER_REQUIRE_KEYS="on", WHISPER_MAX_STREAM="3")
    assert done.returncode == 1
    assert "WHISPER_REQUIRE_KEYS=off" in done.stderr
    assert "did you mean WHISPER_MAX_STREAMS?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_keys_file_that_cannot_be_read_is_said_at_once() -> None:
    done = python("-m", "main", WHISPER_API_KEYS_FILE="/nowhere/keys.json")
    assert done.returncode == 1
    assert "/nowhere/keys.json cannot be read" in done.stderr


def test_serve_builds_nothing_without_the_keys_that_are_required() -> None:
    with pytest.raises(KeysError, match="WHISPER_REQUIRE_KEYS=off"):
        main.app(Settings(require_keys="on"))
    assert main.app(Settings(host="0.0.0.0"))


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", "disabled"), ("0.0.0.0", "token")])
def test_dashboard_that_others_reach_asks_for_a_token(
    host: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    local._prepare_environment(Settings(dashboard_host=host))
    assert os.environ["RAY_AUTH_MODE"] == expected


def test_terminal_warns_of_an_open_service_and_says_where_the_dashboards_token_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", {})
    settings = Settings(host="0.0.0.0", dashboard_host="0.0.0.0")
    local._prepare_environment(settings)
    lines = local._addresses(settings, 8000)
    assert "WARNING" in lines
    assert "`ray get-auth-token`" in lines
    assert "docker exec" in lines


def test_without_a_dashboard_none_is_named_and_its_port_may_be_taken() -> None:
    settings = Settings(port=0, dashboard_port=0)
    assert local._taken_port(settings) is None
    assert "dashboard" not in local._addresses(settings, 8000)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("fd00::7", "http://[fd00::7]:8000/"),
        ("10.0.0.7", "http://10.0.0.7:8000/"),
        ("::", "http://localhost:8000/"),
        ("::1", "http://localhost:8000/"),
    ],
)
def test_addresses_can_be_opened_as_they_are_printed(host: str, shown: str) -> None:
    assert shown in local._addresses(Settings(host=host), 8000)


def test_proxies_answer_for_replicas_that_die(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    local._prepare_environment(Settings())
    assert os.environ[proxy.CALLBACK_VARIABLE] == proxy.CALLBACK


def test_small_machine_is_told_of_enough_cpus_for_both_replicas() -> None:
    assert local._num_cpus(Settings(asr_num_cpus=124.6)) == 126


def test_terminal_is_told_where_the_models_come_from(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    settings = Settings(
        preload_models="mine,small,nonsense",  # type: ignore[arg-type]
        model_dir=tmp_path,
        openai_models_url="http://127.0.0.1:9",
    )
    lines: list[str] = []
    missing = deployments.fetch_models(settings, lines.append)
    assert lines[0] == f"Loading model mine from {tmp_path / 'mine.pt'}."
    assert lines[1] == "Downloading model small."
    assert "http://127.0.0.1:9: [Errno 111] Connection refused" in lines[2]
    assert "no model 'nonsense'" in lines[3]
    assert list(missing) == ["small"]


@pytest.mark.parametrize(("default", "is_told"), [("openai/whisper-base", True), ("demo", False)])
def test_terminal_is_told_that_demo_answers(default: str, is_told: bool) -> None:
    line = deployments.stand_in_line(Settings(default_model=default), {"base": "No source has it."})
    assert (line is not None and "in place of `base`" in line and "76 words" in line) == is_told
    assert deployments.stand_in_line(Settings(demo_fallback=False), {"base": "None"}) is None


def test_a_replica_that_cannot_start_is_told_by_its_own_last_words() -> None:
    def status(status: str, message: str) -> DeploymentStatusOverview:
        trigger = DeploymentStatusTrigger.UNSPECIFIED
        return DeploymentStatusOverview(DeploymentStatus(status), trigger, {}, message)

    traceback = "It failed to start 3 times. Error:\n  File ...\nRuntimeError: It has no GPU.\n"
    application = ApplicationStatusOverview(
        status=ApplicationStatus.DEPLOY_FAILED,
        message="Failed to update the deployments ['WhisperASR'].",
        last_deployed_time_s=0,
        deployments={
            "WhisperASR": status("DEPLOY_FAILED", traceback),
            "WhisperService": status("HEALTHY", ""),
        },
    )
    assert local._reasons({"whisper": application}) == "RuntimeError: It has no GPU."
    assert local._reasons({}) == ""
