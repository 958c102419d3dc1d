"""Send the package's log lines where Serve sends its own: same files, form and request id."""

import logging

from ray.serve.schema import EncodingType, LoggingConfig

from whisper_service.api.log_context import SessionFilter
from whisper_service.settings import Settings

_PACKAGE = "whisper_service"
_SERVE = "ray.serve"


def logging_config(settings: Settings, *, has_access_log: bool = True) -> LoggingConfig:
    """Serve's logging as the settings have it; no environment variable sets the encoding."""
    encoding = EncodingType.JSON if settings.log_format == "json" else EncodingType.TEXT
    return LoggingConfig(
        encoding=encoding, log_level=settings.log_level, enable_access_log=has_access_log
    )


def machinery_config(settings: Settings) -> LoggingConfig:
    """For Serve's own processes, whose steps matter only where they go wrong."""
    level = "DEBUG" if settings.log_level == "DEBUG" else "WARNING"
    return logging_config(settings.model_copy(update={"log_level": level}))


def use_serve_handlers(settings: Settings) -> None:
    """Call once in a replica; outside of one there are no handlers and nothing changes."""
    package, serve = logging.getLogger(_PACKAGE), logging.getLogger(_SERVE)
    package.setLevel(settings.log_level)
    for handler in serve.handlers:
        handler.addFilter(SessionFilter())
        package.addHandler(handler)
    package.propagate = not serve.handlers
