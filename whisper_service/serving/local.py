"""The service as a process of this machine: Ray, ports, signals, and what its terminal shows.

Everything is configured by the environment or, under Serve, by `args:`.
"""

import logging
import math
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from whisper_service.keys.configured import access_line, check_access, configured_keys
from whisper_service.keys.file import KeysError
from whisper_service.settings import Settings, is_loopback, misspelt_variables
from whisper_service.tracing import TracingError, check_tracing

if TYPE_CHECKING:
    # Importing ray takes seconds, which --help need not take.
    from collections.abc import Mapping

    from ray.serve import Application
    from ray.serve.schema import ApplicationStatusOverview

logger = logging.getLogger(__name__)

_APPLICATION = "whisper"


def app(args: Settings) -> "Application":
    """Build the Serve application; `args:` of a Serve config file win over the environment."""
    from whisper_service.serving import deployments

    for sentence in misspelt_variables(os.environ):
        logger.warning(sentence)
    return deployments.build(args)


def serve_here(chosen: "Mapping[str, Any]") -> int:
    """Run until Ctrl-C or SIGTERM; `chosen` settings win over the environment. -> the exit code."""
    try:
        settings = Settings(**chosen)
    except ValidationError as error:
        return _fail(f"The settings are wrong. {_sentences(error)}")
    for sentence in misspelt_variables(os.environ):
        print(f"warning: {sentence}", file=sys.stderr)
    try:
        check_access(settings)
        configured_keys(settings)
        check_tracing(settings)
    except (KeysError, TracingError) as error:
        return _fail(str(error))
    if taken := _taken_port(settings):
        return _fail(taken)
    _prepare_environment(settings)
    return _run(settings)


def _sentences(error: ValidationError) -> str:
    """One sentence for each wrong setting, by the name of its variable; a secret is not shown."""
    secrets = {name for name, field in Settings.model_fields.items() if not field.repr}
    sentences = []
    for item in error.errors():
        name = "_".join(map(str, item["loc"]))
        got = "" if item["loc"] and item["loc"][0] in secrets else f", got {item['input']!r}"
        sentences.append(
            f"WHISPER_{name.upper()}: {item['msg']}{got}." if name else f"{item['msg']}."
        )
    return " ".join(sentences)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def _taken_port(settings: Settings) -> str | None:
    """Say which port cannot be had, before Ray takes seconds to start and another way to say it."""
    wanted = [(settings.host, settings.port, "WHISPER_PORT")]
    if settings.dashboard_port:
        wanted.append((settings.dashboard_host, settings.dashboard_port, "WHISPER_DASHBOARD_PORT"))
    for host, port, variable in wanted:
        try:
            _bind(host, port)
        except OSError as error:
            return (
                f"{_in_address(host)}:{port} cannot be had ({error.strerror})."
                f" Choose another {variable}."
            )
    return None


def _bind(host: str, port: int) -> int:
    """Take a port for a moment and return which it was."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return int(probe.getsockname()[1])


def _prepare_environment(settings: Settings) -> None:
    """Choose for Ray what it reads from the environment; what an operator has set stays.

    Ray guards its dashboard by a token unless told otherwise. On this machine's own address it
    opens as it is; an address that others reach keeps the guard, since a dashboard can run code.
    gRPC would write a line to the terminal for every ffmpeg that is started.
    """
    from whisper_service.serving import proxy

    is_local = is_loopback(settings.dashboard_host)
    os.environ.setdefault("RAY_AUTH_MODE", "disabled" if is_local else "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault(proxy.CALLBACK_VARIABLE, proxy.CALLBACK)


def _run(settings: Settings) -> int:
    """Start Ray and the service, wait to be told to stop, stop both."""
    import ray
    from ray import serve

    port = _bind(settings.host, settings.port)
    _print("Starting Ray.")
    try:
        ray.init(
            address="local",  # never another cluster that happens to run here
            num_cpus=_num_cpus(settings),
            include_dashboard=settings.dashboard_port != 0,
            dashboard_host=settings.dashboard_host,
            dashboard_port=settings.dashboard_port,
            logging_level=logging.WARNING,  # what it says of itself is said below, once
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt_once)
        problem = _deploy(settings, port)
        _print(problem or "Ready.")
        _print(_addresses(settings, port))
        threading.Event().wait()
    except KeyboardInterrupt:
        _print("Stopping.")
    except RuntimeError as error:  # what Serve raises when a replica cannot start
        reasons = _reasons(serve.status().applications) if ray.is_initialized() else ""
        return _fail(f"The service could not start. {reasons or error}")
    finally:
        if ray.is_initialized():
            # First the application, whose replicas tell their streams to resume elsewhere; then
            # the proxies that carry what they say.
            serve.delete(_APPLICATION)
            serve.shutdown()
            ray.shutdown()
    return 0


def _reasons(applications: "Mapping[str, ApplicationStatusOverview]") -> str:
    """Why replicas did not start: of each deployment's message the last line, which is the error
    at the end of its traceback."""
    return " ".join(
        deployment.message.rstrip().rpartition("\n")[2]
        for application in applications.values()
        for deployment in application.deployments.values()
        if deployment.status == "DEPLOY_FAILED"
    )


def _interrupt_once(*_: object) -> None:
    """Both Ctrl-C and SIGTERM stop the service; a second one does not stop the stopping."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _deploy(settings: Settings, port: int) -> str | None:
    """Start the application and wait until it answers; return why it is not ready, if so."""
    from ray import serve

    from whisper_service.serving import deployments, logs

    machinery = logs.machinery_config(settings)
    logging.getLogger("ray.serve").setLevel(machinery.log_level)
    serve.start(http_options={"host": settings.host, "port": port}, logging_config=machinery)
    _print_log_of("whisper_service.models")
    missing = deployments.fetch_models(settings, _print)
    config = logs.logging_config(settings)
    serve.run(deployments.build(settings, missing), name=_APPLICATION, logging_config=config)
    problem = serve.get_deployment_handle("WhisperASR", _APPLICATION).check.remote().result()
    if problem:
        return f"The service runs, but is not ready. {problem}"
    if line := deployments.stand_in_line(settings, missing):
        return f"Ready, without a real model. {line}"
    return None


def _print_log_of(package: str) -> None:
    """Show a person at the terminal what a replica would log: here, how a download goes."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger(package)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _num_cpus(settings: Settings) -> int:
    """CPUs to tell Ray of: those there are, or what all replicas ask for if that is more.

    They only count; with fewer, a replica would wait for ever on a small machine.
    """
    from whisper_service.serving.deployments import SERVICE_CPUS, cpus_per_replica

    asked = cpus_per_replica(settings, n_gpus=0) + SERVICE_CPUS
    return max(os.cpu_count() or 1, math.ceil(asked))


def _addresses(settings: Settings, port: int) -> str:
    is_here = is_loopback(settings.host) or settings.host in ("0.0.0.0", "::")
    host = "localhost" if is_here else _in_address(settings.host)
    lines = [
        f"  Web client      http://{host}:{port}/",
        f"  API, to try     http://{host}:{port}/docs",
        f"  Files           http://{host}:{port}/transcribe",
        f"  Live            ws://{host}:{port}/stream",
    ]
    if settings.dashboard_port:
        lines.append(f"  Ray dashboard   http://localhost:{settings.dashboard_port}")
        if os.environ.get("RAY_AUTH_MODE") == "token":
            lines += [
                "                  asks for the token that `ray get-auth-token` prints here",
                "                  (in a container: `docker exec CONTAINER ray get-auth-token`)",
            ]
    return "\n".join([*lines, access_line(settings), "Ctrl-C stops it."])


def _in_address(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets (RFC 3986, section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _print(message: str) -> None:
    print(message, flush=True)
