"""Fields that clients keep for the service, signed so that nobody can make them up.

Any replica can read what another has signed, and none has to remember it; one that leaks dies when
it expires. Compressed, since they travel in headers and with every final; not encrypted.
"""

from collections.abc import Mapping
from typing import Any

from itsdangerous import BadData, BadSignature, SignatureExpired, URLSafeSerializer

_EXPIRES_AT = "expires_at"


class Signing:
    """Signs and reads. Every replica needs the same secret."""

    def __init__(self, secret: str, purpose: str) -> None:
        """`purpose`: what is signed for one is nothing to another."""
        self._serializer = URLSafeSerializer(secret, salt=purpose)
        self._purpose = purpose

    def sign(self, fields: Mapping[str, Any], expires_at: float) -> str:
        """The signed text of fields that JSON can hold; `expires_at` in Unix seconds."""
        return str(self._serializer.dumps({**fields, _EXPIRES_AT: expires_at}))

    def read(self, text: str, now: float) -> dict[str, Any]:
        """The fields. Raises `BadSignature` for what was not signed here, its subclass
        `SignatureExpired` for what was too long ago."""
        try:
            fields: dict[str, Any] = self._serializer.loads(text)
            expires_at = fields.pop(_EXPIRES_AT)
        except (BadData, UnicodeError, KeyError, TypeError, AttributeError):
            # Unicode: JSON can escape half a character, which is none. The last three: another
            # version signed something else.
            raise BadSignature("It was not signed here.") from None
        if now >= expires_at:
            raise SignatureExpired("It was signed for an earlier time.")
        return fields

    def fingerprint(self, text: str) -> str:
        """What stands for `text` in signed fields. Keyed: a bare hash would let others try texts at
        leisure."""
        signer = self._serializer.make_signer(f"{self._purpose}-fingerprint")
        return signer.get_signature(text).decode()
