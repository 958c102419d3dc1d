"""The API key: where the client finds it, and how it is sent."""

VARIABLE = "WHISPER_CLIENT_KEY"


def authorization(key: str | None) -> dict[str, str]:
    """The headers that carry a key; none without one."""
    return {"Authorization": f"Bearer {key}"} if key else {}
