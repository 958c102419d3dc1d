"""A clock that goes only when a test says so."""


class Clock:
    """To be called for the time, in seconds; `now` may be set."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
