"""How far a stream is: one record, replaced whole by whoever moves on. Positions are samples."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a stream has told and tried, since its last final and before."""

    border: int
    """Everything before it is final."""
    attempted: int
    """Where the last try for words that are final ended, if in vain."""
    last_partial: int
    """Up to where the last partial heard."""
    rests_until: int
    """No partial is asked for before, whatever the interval."""
    has_words: bool = False
    """Whether any after the border were told."""
    n_tries: int = 0
    """Decodes since the last good one that broke off before the border."""
    mark: str = ""
    """Punctuation after the last final word, if what follows confirms it."""

    @classmethod
    def begin(cls, position: int, mark: str) -> "Cursor":
        """Nothing after `position` was heard yet."""
        return cls(position, position, position, position, mark=mark)

    def moved(self, border: int) -> "Cursor":
        """All up to `border` is final; nothing after it was told yet."""
        last_partial = max(self.last_partial, border)
        return replace(
            self,
            border=border,
            attempted=border,
            last_partial=last_partial,
            has_words=False,
            n_tries=0,
        )
