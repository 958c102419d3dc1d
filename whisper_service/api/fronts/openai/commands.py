"""What a client may send on a Realtime socket. Parses and checks; does nothing."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from whisper_service.errors import InvalidMessage, InvalidParameter

UPDATES = {"session.update": False, "transcription_session.update": True}
"""Names of the update, and whether one is the older."""
NAMES = (*UPDATES, *(f"input_audio_buffer.{name}" for name in ("append", "commit", "clear")))


@dataclass(frozen=True, slots=True)
class Command:
    """One event of a client: its name without what all share, and its content."""

    name: str
    fields: dict[str, Any]
    event_id: str | None

    def audio(self) -> bytes:
        """The bytes of an append; raises `InvalidParameter`."""
        try:
            return base64.b64decode(self.fields["audio"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise InvalidParameter(
                "`audio` has to be base64 of raw audio.", param="audio", allowed="base64"
            ) from None

    def session(self) -> dict[str, Any]:
        """The content of an update; raises `InvalidParameter`."""
        session = self.fields.get("session")
        if not isinstance(session, dict):
            raise InvalidParameter("`session` has to be an object.", param="session")
        return session


def parse(text: str) -> Command:
    """A client's event; raises `InvalidMessage`."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidMessage("An event has to be JSON, and this one is not.") from None
    if not isinstance(fields, dict):
        raise InvalidMessage("An event has to be a JSON object, in braces.")
    name, event_id = fields.get("type"), fields.get("event_id")
    event_id = event_id[:512] if isinstance(event_id, str) else None
    if name not in NAMES:
        raise UnknownEvent(
            f"`type` is {str(name)[:100]!r}; allowed are {', '.join(NAMES)}.",
            param="type",
            event_id=event_id,
        )
    return Command(name, fields, event_id)


class UnknownEvent(InvalidMessage):
    """An event this service does not take. Details: `event_id`, the client's."""
