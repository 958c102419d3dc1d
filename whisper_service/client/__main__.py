"""`python -m whisper_service.client`."""

import sys

from whisper_service.client.cli import main

if __name__ == "__main__":
    sys.exit(main())
