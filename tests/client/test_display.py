import io

from whisper_service.client.display import Display

REWRITE, DIM, PLAIN = "\r\x1b[K", "\x1b[2m", "\x1b[0m"


def shown(*, is_live, columns=80):
    out = io.StringIO()
    return out, Display(out, is_live=is_live, columns=columns)


def test_a_pipe_gets_finals_alone():
    out, display = shown(is_live=False)
    display.partial(" one", " two")
    display.final(" one two")
    assert out.getvalue() == "one two\n"


def test_a_terminal_sees_the_unstable_part_dimmed_and_replaced_by_the_final():
    out, display = shown(is_live=True)
    display.partial(" one", " two")
    assert out.getvalue() == f"{REWRITE}one{DIM} two{PLAIN}"
    display.final(" one too")
    assert out.getvalue().endswith(f"{PLAIN}{REWRITE}one too\n")


def test_a_long_partial_shows_its_end_on_one_line():
    out, display = shown(is_live=True, columns=8)
    display.partial(" one two", " three")
    assert out.getvalue() == f"{REWRITE}o{DIM} three{PLAIN}"


def test_wide_characters_take_two_columns():
    out, display = shown(is_live=True, columns=6)
    display.partial("", "一二三")
    assert out.getvalue() == f"{REWRITE}{DIM}二三{PLAIN}"


def test_text_cannot_drive_the_terminal():
    out, display = shown(is_live=False)
    display.final(" one\x1b[2Jtwo")
    assert out.getvalue() == "one [2Jtwo\n"
