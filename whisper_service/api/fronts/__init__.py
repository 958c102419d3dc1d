"""The protocols that clients speak, a folder each; one that is added is named here."""

from whisper_service.api.fronts import deepgram, jobs, native, openai
from whisper_service.api.fronts.front import Front

FRONTS: tuple[Front, ...] = (native.FRONT, jobs.FRONT, openai.FRONT, deepgram.FRONT)
"""In the order of /docs."""
