"""Run the service here: `python -m main`. Or hand it to Serve: `serve run main:app`."""

import sys

from whisper_service.serving.local import app

__all__ = ["app"]

if __name__ == "__main__":
    from whisper_service.serving.cli import main

    sys.exit(main())
