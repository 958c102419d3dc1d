import importlib.util

import pytest

from whisper_service.languages import LANGUAGES, language_code


@pytest.mark.parametrize("given", ["de", "DE", " german ", "German"])
def test_codes_and_names_are_understood(given):
    assert language_code(given) == "de"


def test_other_names_of_a_language_are_understood():
    assert language_code("Castilian") == "es"
    assert language_code("mandarin") == "zh"


@pytest.mark.parametrize("given", ["", "klingon", "deu", "en-US", "haitian creole?"])
def test_anything_else_is_no_language(given):
    assert language_code(given) is None


def test_every_name_leads_back_to_its_code():
    assert {language_code(name) for name in LANGUAGES.values()} == set(LANGUAGES)


@pytest.mark.model
@pytest.mark.skipif(not importlib.util.find_spec("whisper"), reason="openai-whisper is missing")
def test_the_table_is_whispers_own():
    from whisper.tokenizer import LANGUAGES as THEIRS
    from whisper.tokenizer import TO_LANGUAGE_CODE

    assert list(LANGUAGES.items()) == list(THEIRS.items())
    assert all(language_code(name) == code for name, code in TO_LANGUAGE_CODE.items())
