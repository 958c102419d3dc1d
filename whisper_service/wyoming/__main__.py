"""`python -m whisper_service.wyoming`."""

import sys

from whisper_service.wyoming.cli import main

if __name__ == "__main__":
    sys.exit(main())
