"""How far a stream has come: one immutable record, which the plan replaces as it moves on."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Cursor:
    """Positions are samples from the start of the stream."""

    committed: int
    """All audio before it is final."""
    attempted: int
    """Where the last window ended that was decoded for final words and had none."""
    last_partial: int
    """Where the window of the last partial ended."""
    backoff_until: int
    """The next partial may not be asked for before this position, whatever the interval."""
    has_partial: bool = False
    """Whether a partial with words was emitted since the last commit."""
    n_truncated: int = 0
    """Truncated decodes in a row, up to the last commit."""
    mark: str = ""
    """Punctuation after the last final word, held until the words that follow confirm it."""

    @classmethod
    def at(cls, position: int, mark: str) -> "Cursor":
        """Return the cursor of a stream that begins at `position`."""
        return cls(position, position, position, position, mark=mark)

    def commit(self, until: int) -> "Cursor":
        """Return the cursor after all audio before `until` became final."""
        return replace(
            self,
            committed=until,
            attempted=until,
            last_partial=max(self.last_partial, until),
            has_partial=False,
            n_truncated=0,
        )
