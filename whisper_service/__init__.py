"""Whisper Streaming: OpenAI's Whisper behind Ray Serve and FastAPI."""

__version__ = "0.1.0"
