"""How late a stream's text was, and how much of what it showed it took back.

All times are on the audio's own clock, against the times that the service itself gives: a final's
`end`, a partial's `start`. `live_report` compares them with the truth where that is known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.live_client import Run
from benchmarks.scoring import normalise


@dataclass(slots=True)
class Timeliness:
    """Of one stream, or of several together."""

    finals: list[float] = field(default_factory=list)
    """From the end of a final's last word to its arrival, in seconds."""
    first_partials: list[float] = field(default_factory=list)
    """From the start of each utterance to the first partial with a word."""
    n_shown: int = 0
    """Words of partials that a later partial could take back."""
    n_taken_back: int = 0

    @property
    def share_taken_back(self) -> float:
        """In percent."""
        return 100 * self.n_taken_back / max(self.n_shown, 1)


def timeliness(run: Run, language: str) -> Timeliness:
    """Of one stream's messages."""
    found = Timeliness()
    shown: list[str] = []
    is_begun = False
    for at, message in run.messages:
        if message["type"] == "partial":
            words = normalise(f"{message['stable']} {message['unstable']}", language).split()
            if words and not is_begun:
                is_begun = True
                found.first_partials.append(at - message["start"])
            found.n_shown += len(shown)
            found.n_taken_back += len(shown) - _n_common(words, shown)
            shown = words
        elif message["type"] == "final":
            found.finals.append(at - message["end"])
            shown, is_begun = [], False
    return found


def together(parts: Iterable[Timeliness]) -> Timeliness:
    """The same of several streams."""
    whole = Timeliness()
    for part in parts:
        whole.finals += part.finals
        whole.first_partials += part.first_partials
        whole.n_shown += part.n_shown
        whole.n_taken_back += part.n_taken_back
    return whole


def quantile(values: Sequence[float], share: float) -> float | None:
    """One of the values, the lower of two neighbours; None without any."""
    return sorted(values)[int(share * (len(values) - 1))] if values else None


def _n_common(words: Sequence[str], others: Sequence[str]) -> int:
    """How many words both begin with."""
    n = 0
    while n < min(len(words), len(others)) and words[n] == others[n]:
        n += 1
    return n
