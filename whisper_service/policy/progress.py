"""How far a stream is: what is final, and what was tried since.

Owns the positions that choosing the next window and using its answer have in common; decides
nothing.
"""

from whisper_service.policy.agreement import Heard
from whisper_service.policy.stretch import Stretch
from whisper_service.policy.task import Task
from whisper_service.types import SAMPLE_RATE, Hypothesis

NOTHING = SAMPLE_RATE // 8
"""125 ms of speech after a border: the detector hears a word's end late, the border is early."""


class Progress:
    """Within the stretch at work, if there is one."""

    def __init__(self, position: int) -> None:
        self.stretch: Stretch | None = None
        self.border = position
        """Everything before it is final."""
        self.lead = 0
        """How much before the border is decoded again: 0 after a pause."""
        self.last_final: Heard | None = None
        self.attempted = position
        """Where the last try for a border between words ended, if in vain."""
        self.last_partial = position
        self.rest = 0
        """How much to hear after a partial before the next one, whatever the interval."""
        self.speculative: tuple[Task, Hypothesis] | None = None
        """The decode up to the pause that lasts: the final, if that pause becomes the end."""
        self.n_tries = 0
        """Decodes since the last good one that broke off before the border."""

    def move_border(self, border: int, *, lead: int) -> None:
        """All before `border` is final now; `lead` of it is to be decoded again."""
        self.border = border
        self.lead = lead
        self.last_final = None
        self.speculative = None
        self.n_tries = 0
        self.attempted = border
        self.last_partial = max(self.last_partial, border)
        if self.stretch is not None and self.stretch.utterance is not None:
            self.stretch.utterance.forget_before(border)

    def resumes_at(self) -> int | None:
        """Return where speech goes on, if the border is in a pause; None if the pause lasts."""
        stretch = self.stretch
        if stretch is None or stretch.utterance is None or self.border <= stretch.begin:
            return self.border
        return stretch.utterance.speech_after(self.border, ignored=NOTHING)
