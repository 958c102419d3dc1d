"""Words of a decode that went on after a prefix: the prefix's own are left out, its mark is not."""

from whisper_service.engine.words import without_prefix
from whisper_service.types import Segment, Word

SAID = Segment(0, 0.0, 2.0, " my Americans", (Word(" my", 0.0, 1.0, 0.9),))
REST = Segment(1, 2.5, 3.0, " ask not", (Word(" ask", 2.5, 2.7, 0.8), Word(" not", 2.7, 3.0, 0.9)))


def test_the_prefix_is_left_out() -> None:
    assert without_prefix((SAID, REST), " my Americans") == (REST,)
    assert without_prefix((SAID,), " my Americans") == ()


def test_a_mark_that_alignment_joined_to_the_prefix_is_said_after_it() -> None:
    marked = Segment(0, 0.0, 2.0, " my Americans,", SAID.words)
    (rest,) = without_prefix((marked, REST), " my Americans")
    assert rest.text == ", ask not"
    assert [word.text for word in rest.words] == [",", " ask", " not"]
    assert (rest.words[0].start, rest.words[0].end) == (2.0, 2.0)
