"""Decodes that stop before the speech does: Whisper emits an end of text too early now and then.

One rule for files and streams. They measure the speech that a decode left out in different ways:
a file by its detector, a live window by its level.
"""

from whisper_service.types import SAMPLE_RATE

MAX_DECODES = 4
"""Decodes of the same speech that may be judged truncated: 30 s in four pieces is already speech
denser than any token limit."""
MAX_UNCOVERED = SAMPLE_RATE
"""1 s of speech after the last word holds another word or two; less is breath and reverb."""


def is_truncated(n_uncovered: int, n_decodes: int, *, max_uncovered: int = MAX_UNCOVERED) -> bool:
    """Whether a decode that left `n_uncovered` samples of speech without text has to be resumed.

    `n_decodes`: decodes of this speech so far. From `MAX_DECODES` on the text stands as it is. A
    file counts the one that is judged, a stream only those before it.
    """
    return n_decodes < MAX_DECODES and n_uncovered > max_uncovered
