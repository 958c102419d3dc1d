"""`python -m whisper_service.models`."""

import sys

from whisper_service.models.cli import main

if __name__ == "__main__":
    sys.exit(main())
