"""What is measured of decoding. Where it is stored is not known here.

Called on the decoding thread, between the steps: it must be cheap and must not raise.
"""

from typing import Protocol


class Meter(Protocol):
    """Seconds are of the clock on the wall."""

    def admitted(self, model: str, waits: list[float], seconds: float) -> None:
        """Jobs joined the batch after they had waited; encoding them took `seconds`."""

    def stepped(self, model: str, n_rows: int, seconds: float) -> None:
        """A step decoded a token for each of `n_rows` rows."""

    def answered(self, model: str, audio_seconds: float) -> None:
        """A job of so much audio has its hypothesis."""


class NoMeter:
    """Forgets everything; where nobody collects."""

    def admitted(self, model: str, waits: list[float], seconds: float) -> None:
        """See `Meter`."""

    def stepped(self, model: str, n_rows: int, seconds: float) -> None:
        """See `Meter`."""

    def answered(self, model: str, audio_seconds: float) -> None:
        """See `Meter`."""
