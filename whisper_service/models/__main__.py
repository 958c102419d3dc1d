"""Bring models to this machine ahead of time: `python -m whisper_service.models base turbo`.

Where they go and where they may come from is said by the service's own settings: WHISPER_MODEL_DIR
and so on. Prints where each lies.
"""

import argparse
import logging
import sys

from whisper_service.errors import ServiceError
from whisper_service.models.store import ModelStore
from whisper_service.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 1 where a model could not be had."""
    parser = argparse.ArgumentParser(
        prog="python -m whisper_service.models", description="Download models ahead of time."
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="such as base, or OWNER/NAME")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    store = ModelStore.of(Settings())
    for name in options.models:
        try:
            print(store.ensure(store.canonical(name)).path)
        except ServiceError as error:
            print(f"error: {error.message}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
