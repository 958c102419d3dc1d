"""`python -m whisper_service.keys`."""

import sys

from whisper_service.keys.cli import main

if __name__ == "__main__":
    sys.exit(main())
