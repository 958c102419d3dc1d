"""A process that begins the jobs in a folder, with short leases, and ends none:
`python -m tests.api.fronts.jobs.crash FOLDER`."""

import asyncio
import sys
from pathlib import Path

from tests.api.fakes import FakeDecoder
from tests.policy.world import FakeDetector
from whisper_service.api.app import create_app
from whisper_service.api.files import transcription
from whisper_service.jobs import store
from whisper_service.settings import Settings


async def main() -> None:
    transcription.SileroDetector = FakeDetector
    store.LEASE = 1.0
    decoder = FakeDecoder()
    decoder.gate.clear()
    app = create_app(Settings(jobs_dir=Path(sys.argv[1])), decoder)
    async with app.router.lifespan_context(app):
        await decoder.begun.acquire()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
