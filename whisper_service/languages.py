"""The languages Whisper knows, and every common way to write them, without importing Whisper.

Owns Whisper's table and what is its own in it; tags (BCP 47), codes (ISO 639) and names in any
language are langcodes' business.
"""

from functools import lru_cache

import langcodes
from language_data.names import TRIES, normalize_name

LANGUAGES: dict[str, str] = {
    "en": "english",
    "zh": "chinese",
    "de": "german",
    "es": "spanish",
    "ru": "russian",
    "ko": "korean",
    "fr": "french",
    "ja": "japanese",
    "pt": "portuguese",
    "tr": "turkish",
    "pl": "polish",
    "ca": "catalan",
    "nl": "dutch",
    "ar": "arabic",
    "sv": "swedish",
    "it": "italian",
    "id": "indonesian",
    "hi": "hindi",
    "fi": "finnish",
    "vi": "vietnamese",
    "he": "hebrew",
    "uk": "ukrainian",
    "el": "greek",
    "ms": "malay",
    "cs": "czech",
    "ro": "romanian",
    "da": "danish",
    "hu": "hungarian",
    "ta": "tamil",
    "no": "norwegian",
    "th": "thai",
    "ur": "urdu",
    "hr": "croatian",
    "bg": "bulgarian",
    "lt": "lithuanian",
    "la": "latin",
    "mi": "maori",
    "ml": "malayalam",
    "cy": "welsh",
    "sk": "slovak",
    "te": "telugu",
    "fa": "persian",
    "lv": "latvian",
    "bn": "bengali",
    "sr": "serbian",
    "az": "azerbaijani",
    "sl": "slovenian",
    "kn": "kannada",
    "et": "estonian",
    "mk": "macedonian",
    "br": "breton",
    "eu": "basque",
    "is": "icelandic",
    "hy": "armenian",
    "ne": "nepali",
    "mn": "mongolian",
    "bs": "bosnian",
    "kk": "kazakh",
    "sq": "albanian",
    "sw": "swahili",
    "gl": "galician",
    "mr": "marathi",
    "pa": "punjabi",
    "si": "sinhala",
    "km": "khmer",
    "sn": "shona",
    "yo": "yoruba",
    "so": "somali",
    "af": "afrikaans",
    "oc": "occitan",
    "ka": "georgian",
    "be": "belarusian",
    "tg": "tajik",
    "sd": "sindhi",
    "gu": "gujarati",
    "am": "amharic",
    "yi": "yiddish",
    "lo": "lao",
    "uz": "uzbek",
    "fo": "faroese",
    "ht": "haitian creole",
    "ps": "pashto",
    "tk": "turkmen",
    "nn": "nynorsk",
    "mt": "maltese",
    "sa": "sanskrit",
    "lb": "luxembourgish",
    "my": "myanmar",
    "bo": "tibetan",
    "tl": "tagalog",
    "mg": "malagasy",
    "as": "assamese",
    "tt": "tatar",
    "haw": "hawaiian",
    "ln": "lingala",
    "ha": "hausa",
    "ba": "bashkir",
    "jw": "javanese",
    "su": "sundanese",
    "yue": "cantonese",
}
"""ISO 639-1 code (639-3 where there is none) to English name, in the order of the tokens.

The same table as `whisper.tokenizer.LANGUAGES`, which cannot be imported without torch; a test
holds the two equal.
"""
_NAMES = {name: code for code, name in LANGUAGES.items()} | {
    "burmese": "my",
    "valencian": "ca",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "pushto": "ps",
    "panjabi": "pa",
    "moldavian": "ro",
    "moldovan": "ro",
    "sinhalese": "si",
    "castilian": "es",
    "mandarin": "zh",
    "castellano": "es",  # all but this one are openai-whisper's
}
_WHISPER_CODES = {"jv": "jw", "fil": "tl", "nb": "no"}
"""Where Whisper's code is not the language's: an old one for Javanese, the narrower one for
Filipino, the wider one for Bokmål (Nynorsk has its own)."""

SCRIPT_PROMPTS = {
    "zh-Hans": "以下是普通话的句子。",
    "zh-Hant": "以下是普通話的句子。",
    "sr-Cyrl": "Ово је разговор на српском језику.",
    "sr-Latn": "Ovo je razgovor na srpskom jeziku.",
}
"""Languages that Whisper writes in one script or another, and a prompt that it follows in the
choice: "These are sentences in Mandarin", "This is a conversation in Serbian"."""
_MAX_LENGTH = 100
"""Characters; the longest name of a language has half as many."""


@lru_cache(maxsize=1024)
def language_tag(given: str) -> str | None:
    """Whisper's code for a tag, a code or a name, followed by the script if that can be asked for.

    "de-CH", "deu", "ger", "German" and "Deutsch" are "de"; "zh-TW" is "zh-Hant", a key of
    `SCRIPT_PROMPTS`. A region is let go, unless it says which script is meant. None is not a
    language of Whisper's.
    """
    name = given.strip().lower()
    if len(name) > _MAX_LENGTH or not name.isprintable():  # on some bytes, `find` breaks
        return None
    if name in LANGUAGES:
        return name
    if name in _NAMES:
        return _NAMES[name]
    found = _parse(name)
    # The macrolanguage second: Cantonese and Nynorsk are in one, and have codes of their own.
    for language in (found, found.prefer_macrolanguage()) if found else ():
        code = _WHISPER_CODES.get(language.language or "", language.language)
        if code in LANGUAGES:
            written = f"{code}-{_script(language)}"
            return written if written in SCRIPT_PROMPTS else code
    return None


def whisper_code(tag: str) -> str:
    """The code of `LANGUAGES` in what `language_tag` returned."""
    return tag.partition("-")[0]


def _parse(name: str) -> langcodes.Language | None:
    tag = name.partition(".")[0].partition("@")[0]  # POSIX: de_AT.UTF-8, ca_ES@valencia
    try:
        return langcodes.Language.get(tag)
    except ValueError:  # no tag
        pass
    for named in (name, name.partition("(")[0]):  # Chinese (traditional); Português (Brasil)
        try:
            language = langcodes.find(named)
        except LookupError:
            continue
        if normalize_name(named) in TRIES["und/name_to_language"]:
            return language  # whole: `find` takes "German or English" for "German"
    return None


def _script(language: langcodes.Language) -> str | None:
    """The script it names; of Chinese, that of its region. Serbia itself writes both."""
    if language.language == "zh" and language.territory and not language.script:
        return language.maximize().script
    return language.script
