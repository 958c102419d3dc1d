"""Deepgram's live protocol, spoken over the same plans as /stream."""
