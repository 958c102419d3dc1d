"""The words that the demo model knows, each with its language and its English translation."""

from dataclasses import dataclass
from itertools import repeat

LANGUAGES = ("en", "de", "es")

_ENGLISH_NUMBERS = "zero one two three four five six seven eight nine ten"
_ENGLISH_COMMANDS = (
    "yes no stop start go up down left right on off open close play pause next back light music "
    "hello thanks please help red green blue weather time call cancel save delete search home "
    "louder quieter wait repeat door water"
)
_GERMAN_NUMBERS = "null eins zwei drei vier fünf sechs sieben acht neun zehn"
_SPANISH_NUMBERS = "cero uno dos tres cuatro cinco seis siete ocho nueve diez"


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    language: str
    english: str


def _words() -> tuple[Word, ...]:
    numbers = _ENGLISH_NUMBERS.split()
    english = [Word(text, "en", text) for text in numbers + _ENGLISH_COMMANDS.split()]
    german = map(Word, _GERMAN_NUMBERS.split(), repeat("de"), numbers)
    spanish = map(Word, _SPANISH_NUMBERS.split(), repeat("es"), numbers)
    answers = [Word("ja", "de", "yes"), Word("nein", "de", "no"), Word("sí", "es", "yes")]
    return (*english, *german, *spanish, *answers)


WORDS = _words()
"""51 English, 13 German and 12 Spanish words; a word's place here is its class in training."""

DIGITS = tuple(word for word in WORDS if word.language == "en")[:10]


def words_of(language: str) -> tuple[Word, ...]:
    return tuple(word for word in WORDS if word.language == language)
