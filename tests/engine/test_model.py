"""Weights on disk become a model, or a sentence that says why not."""

from pathlib import Path

import pytest
import torch
import whisper
from whisper.model import Whisper

from tests.engine.folders import (
    DIMS,
    random_tensors,
    write_ctranslate2,
    write_huggingface,
    write_openai,
)
from whisper_service.engine import model as model_module
from whisper_service.engine.checkpoints import Checkpoint
from whisper_service.engine.engine import Engine, load_engine
from whisper_service.engine.model import load_model
from whisper_service.errors import ModelUnavailable
from whisper_service.models.weight_files import Weights


def load(name: str, folder: Path) -> Engine:
    return load_engine(name, folder, device="cpu")


def loaded(name: str, path: Path, *, is_vouched_for: bool = False) -> Whisper:
    weights = Weights(path, is_vouched_for=is_vouched_for)
    return load_model(name, weights, torch.device("cpu"), torch.float32)


def test_a_model_of_ones_own_is_loaded_by_its_name(tmp_path: Path) -> None:
    write_openai(tmp_path / "mine.pt", random_tensors())
    engine = load("mine", tmp_path)
    assert (engine.name, len(engine.languages)) == ("mine", 99)


def test_every_parameter_is_the_checkpoints(tmp_path: Path) -> None:
    tensors = random_tensors()
    write_openai(tmp_path / "mine.pt", tensors)
    model = loaded("mine", tmp_path / "mine.pt")
    assert all(torch.equal(t, tensors[n].float()) for n, t in model.state_dict().items())


@pytest.mark.parametrize("write", [write_huggingface, write_ctranslate2])
def test_alignment_heads_come_with_a_folder(tmp_path: Path, write: object) -> None:
    write(tmp_path / "mine", random_tensors(), heads=[[0, 0]])  # type: ignore[operator]
    heads = loaded("mine", tmp_path / "mine").alignment_heads
    assert heads.indices().T.tolist() == [[0, 0]]


def test_without_any_the_upper_half_aligns_as_in_openai_whisper(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "mine", random_tensors())
    heads = loaded("mine", tmp_path / "mine").alignment_heads
    assert heads.indices().T.tolist() == Whisper(DIMS).alignment_heads.indices().T.tolist()


def test_another_model_under_an_official_name_is_refused_and_kept(tmp_path: Path) -> None:
    write_openai(tmp_path / "base.pt", random_tensors())
    with pytest.raises(ModelUnavailable, match="another model than OpenAI's base"):
        load("base", tmp_path)
    assert (tmp_path / "base.pt").is_file()


@pytest.mark.parametrize("write", [write_openai, write_huggingface, write_ctranslate2])
def test_the_official_numbers_are_served_in_any_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: object
) -> None:
    tensors = random_tensors()
    monkeypatch.setitem(model_module.DIGESTS, "base", Checkpoint(DIMS, tensors).digest())
    # The heads of base do not exist in so small a model.
    monkeypatch.setattr(Whisper, "set_alignment_heads", lambda *_: None)
    path = tmp_path / ("base.pt" if write is write_openai else "base")
    write(path, tensors)  # type: ignore[operator]
    assert loaded("base", path)


def test_what_an_operator_has_listed_needs_no_proof(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "small", random_tensors(), heads=[[1, 0]])
    assert loaded("small", tmp_path / "small", is_vouched_for=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn zip"])
def test_an_unreadable_checkpoint_is_unavailable(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(content)
    with pytest.raises(ModelUnavailable, match="not a checkpoint in openai-whisper's format"):
        load("mine", tmp_path)


@pytest.mark.parametrize("missing", ["dims", "model_state_dict"])
def test_a_checkpoint_of_something_else_is_unavailable(missing: str, tmp_path: Path) -> None:
    whole = {"dims": vars(DIMS), "model_state_dict": random_tensors()}
    torch.save({**whole, missing: {}}, tmp_path / "mine.pt")
    with pytest.raises(ModelUnavailable, match=r"not a checkpoint|lacks"):
        load("mine", tmp_path)


class Opener:
    """Unpickled, it would touch a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"dims": Opener(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(ModelUnavailable):
        load("evil", tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.model
def test_the_bundled_model_is_as_openai_whisper_loads_it(demo_path: Path) -> None:
    theirs = whisper.load_model(str(demo_path), device="cpu").state_dict()
    ours = loaded("demo", demo_path).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
