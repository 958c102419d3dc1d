import importlib.util

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_service.languages import LANGUAGES, SCRIPT_PROMPTS, language_tag, whisper_code


def written(code: str, *ways: str) -> list[tuple[str, str]]:
    return [(way, code) for way in ways]


@pytest.mark.parametrize(
    ("way", "code"),
    [
        *written("de", "de", "DE", " german ", "German", "Deutsch", "deutsch"),
        *written("de", "deu", "ger", "de-DE", "de_AT.UTF-8", "de-CH-1996"),
        *written("pt", "pt-BR", "pt_BR", "por", "Português", "Brazilian Portuguese"),
        *written("en", "en-US", "en_US", "EN-GB", "eng", "English (United States)"),
        *written("es", "es-419", "castilian", "castellano", "español"),
        *written("no", "no", "nb", "nb-NO", "nob", "bokmål", "Norwegian Bokmål", "norsk"),
        *written("nn", "nn", "nn-NO", "nno", "Nynorsk"),
        *written("jw", "jv", "jw", "jav", "jv-ID", "javanese"),
        *written("tl", "fil", "tl", "tgl", "fil-PH", "Filipino"),
        *written("he", "iw", "he", "heb", "עברית"),
        *written("id", "in", "ind"),
        *written("yi", "ji", "yid"),
        *written("zh", "zh", "zho", "chi", "cmn", "mandarin", "中文"),
        *written("yue", "yue", "zh-yue", "yue-HK", "cantonese", "粵語"),
        *written("zh-Hans", "zh-CN", "zh_cn", "zh-Hans", "zh-SG", "cmn-Hans-CN", "简体中文"),
        *written("zh-Hant", "zh-TW", "zh-HK", "zh-Hant-HK", "Chinese (Traditional)", "繁體中文"),
        *written("sr", "sr", "srp", "serbian", "sr-RS"),
        *written("sr-Latn", "sr-Latn", "sr-Latn-RS", "sr_Latn_BA", "sh"),
        *written("sr-Cyrl", "sr-Cyrl", "sr_Cyrl_RS"),
        *written("ro", "mo", "ron", "rum", "moldavian"),
        *written("fa", "farsi", "pes", "prs", "fa-IR"),
        *written("ar", "arb", "ar-EG", "العربية"),
        *written("uz", "uz-Cyrl", "uzn"),
        *written("haw", "haw", "haw-US"),
    ],
)
def test_tags_codes_and_names_are_understood(way, code):
    assert language_tag(way) == code


@pytest.mark.parametrize(
    "given",
    ["", "klingon", "tlh", "xx", "german or english", "en us", "en-", "-", "x-foo", "e" * 200],
)
def test_anything_else_is_no_language(given):
    assert language_tag(given) is None


@given(st.text(max_size=12) | st.from_regex(r"[a-zA-Z]{1,4}([-_][a-zA-Z0-9]{1,8}){0,3}"))
def test_any_text_is_a_language_of_whispers_or_none(text):
    tag = language_tag(text)
    assert tag is None or whisper_code(tag) in LANGUAGES
    assert tag is None or tag in LANGUAGES or tag in SCRIPT_PROMPTS


def test_every_name_and_what_is_understood_lead_back_to_the_code():
    assert {language_tag(name) for name in LANGUAGES.values()} == set(LANGUAGES)
    assert {language_tag(tag) for tag in SCRIPT_PROMPTS} == set(SCRIPT_PROMPTS)


@pytest.mark.model
@pytest.mark.skipif(not importlib.util.find_spec("whisper"), reason="openai-whisper is missing")
def test_the_table_is_whispers_own():
    from whisper.tokenizer import LANGUAGES as THEIRS
    from whisper.tokenizer import TO_LANGUAGE_CODE

    assert list(LANGUAGES.items()) == list(THEIRS.items())
    assert all(language_tag(name) == code for name, code in TO_LANGUAGE_CODE.items())
