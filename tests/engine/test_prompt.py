import pytest
from pydantic import TypeAdapter
from whisper.tokenizer import Tokenizer, get_tokenizer

from whisper_service.api.schemas.fields import Prompt
from whisper_service.engine.prompt import prompt_tokens

LIMIT = 448 // 2 - 1


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return get_tokenizer(True, language="en", task="transcribe")


def tokens(tokenizer: Tokenizer, prompt: str | None, previous: str) -> tuple[int, ...]:
    return prompt_tokens(tokenizer, prompt, previous, n_text_ctx=448)


def test_nothing_said_is_no_prompt(tokenizer: Tokenizer) -> None:
    assert tokens(tokenizer, None, "") == tokens(tokenizer, "  ", " ") == ()


def test_prompt_comes_before_previous_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokens(tokenizer, "Names: Ray.", " one two")) == " Names: Ray. one two"


def test_prompt_stays_whole_while_the_oldest_text_goes(tokenizer: Tokenizer) -> None:
    previous = " ".join(["old"] * 300 + ["new"])
    text = tokenizer.decode(tokens(tokenizer, "Names: Ray.", previous))
    assert text.startswith(" Names: Ray. old")
    assert text.endswith(" new")
    assert len(tokens(tokenizer, "Names: Ray.", previous)) == LIMIT


def test_endless_prompt_leaves_no_room_and_is_cut(tokenizer: Tokenizer) -> None:
    assert len(tokens(tokenizer, "word " * 1000, "previous")) == LIMIT


@pytest.mark.parametrize(
    "prompt",
    [
        ", ".join(f"Przybyszewski-{number}" for number in range(900)),
        " ".join(["disproportionately"] * 1000),
        "действительно " * 1000,
        "ありがとうございました" * 1000,
    ],
)
def test_what_the_api_keeps_of_an_endless_prompt_is_all_that_is_read(
    tokenizer: Tokenizer, prompt: str
) -> None:
    kept = TypeAdapter(Prompt).validate_python(prompt)
    assert kept is not None
    assert len(kept) < len(prompt)
    assert tokens(tokenizer, kept, "") == tokens(tokenizer, prompt, "")
    assert tokens(tokenizer, kept, "")[-5:] == tuple(tokenizer.encode(f" {prompt.strip()}"))[-5:]


def test_special_tokens_typed_by_a_user_are_plain_text(tokenizer: Tokenizer) -> None:
    found = tokens(tokenizer, "<|endoftext|><|startoftranscript|>", "<|nospeech|>")
    assert found
    assert max(found) < tokenizer.eot
