"""The three formats give the same tensors, and nothing that lies about itself is believed."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from whisper.model import ModelDimensions

from tests.engine.folders import (
    DIMS,
    Tensors,
    ctranslate2_arrays,
    ctranslate2_bytes,
    random_tensors,
    write_ctranslate2,
    write_huggingface,
    write_openai,
)
from whisper_service.engine.checkpoints import Checkpoint, CheckpointError, read_checkpoint

HEADS = [[0, 0], [1, 0]]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return random_tensors()


def same(found: Checkpoint, tensors: Tensors) -> bool:
    names = found.tensors.keys() == tensors.keys()
    return names and all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


def test_openais_format_is_read(tmp_path: Path, tensors: Tensors) -> None:
    write_openai(tmp_path / "a.pt", tensors)
    found = read_checkpoint(tmp_path / "a.pt")
    assert (found.dims, found.alignment_heads) == (DIMS, None)
    assert same(found, tensors)


@pytest.mark.parametrize("n_files", [1, 3])
def test_transformers_format_is_read(tmp_path: Path, tensors: Tensors, n_files: int) -> None:
    write_huggingface(tmp_path / "a", tensors, heads=HEADS, n_files=n_files)
    found = read_checkpoint(tmp_path / "a")
    assert (found.dims, found.alignment_heads) == (DIMS, ((0, 0), (1, 0)))
    assert same(found, tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_ctranslate2s_format_is_read(tmp_path: Path, tensors: Tensors, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    write_ctranslate2(tmp_path / "a", tensors, heads=HEADS)
    found = read_checkpoint(tmp_path / "a")
    assert (found.dims, found.alignment_heads) == (DIMS, ((0, 0), (1, 0)))
    assert same(found, tensors)


@pytest.mark.parametrize(
    "dims",
    [
        replace(DIMS, n_mels=128, n_vocab=51866, n_text_layer=1),
        replace(DIMS, n_vocab=51864, n_audio_layer=3, n_text_layer=2),
    ],
)
def test_turbo_and_distil_have_fewer_layers_that_write(
    tmp_path: Path, dims: ModelDimensions
) -> None:
    tensors = random_tensors(dims)
    write_huggingface(tmp_path / "hf", tensors, dims)
    write_ctranslate2(tmp_path / "ct2", tensors, dims)
    assert read_checkpoint(tmp_path / "hf").dims == read_checkpoint(tmp_path / "ct2").dims == dims


def test_the_digest_is_of_the_numbers_alone(tmp_path: Path, tensors: Tensors) -> None:
    write_openai(tmp_path / "a.pt", tensors)
    write_huggingface(tmp_path / "hf", {name: t.float() for name, t in tensors.items()})
    write_ctranslate2(tmp_path / "ct2", tensors)
    digests = {read_checkpoint(tmp_path / name).digest() for name in ("a.pt", "hf", "ct2")}
    assert len(digests) == 1


def test_another_number_makes_another_digest(tmp_path: Path, tensors: Tensors) -> None:
    digest = Checkpoint(DIMS, tensors).digest()
    nudged = tensors["decoder.ln.weight"].clone()
    nudged[3] += 0.001
    assert Checkpoint(DIMS, {**tensors, "decoder.ln.weight": nudged}).digest() != digest
    precise = tensors["decoder.ln.weight"].float() + 1e-6  # float16 would not tell
    assert Checkpoint(DIMS, {**tensors, "decoder.ln.weight": precise}).digest() != digest


def test_an_output_projection_of_its_own_is_refused(tmp_path: Path, tensors: Tensors) -> None:
    own = {**tensors, "proj": tensors["decoder.token_embedding.weight"] + 1}
    write_huggingface(tmp_path / "a", own)
    rename(tmp_path / "a", {"model.proj": "proj_out.weight"})
    with pytest.raises(CheckpointError, match="proj_out"):
        read_checkpoint(tmp_path / "a")


def rename(folder: Path, names: dict[str, str]) -> None:
    from safetensors.torch import load_file, save_file

    found = load_file(folder / "model.safetensors")
    save_file({names.get(n, n): t for n, t in found.items()}, folder / "model.safetensors")


LIES = {
    "a size that is none": ({"d_model": "64"}, "no size"),
    "a size that is missing": ({"encoder_layers": None}, "no size"),
    "a size below nothing": ({"decoder_layers": -1}, "no size"),
    "more layers than there are": ({"decoder_layers": 3}, "lacks decoder.blocks.2"),
    "fewer layers than there are": ({"decoder_layers": 1}, "which Whisper has not"),
    "another width": ({"d_model": 128}, r"is \[64"),
    "a width that would fill the memory": ({"d_model": 10**9}, "larger than any"),
    "layers without end": ({"encoder_layers": 10**9}, "larger than any"),
    "another vocabulary": ({"vocab_size": 50257}, "vocabulary has 50257"),
    "other features": ({"num_mel_bins": 64}, "mel bins"),
    "another window": ({"max_source_positions": 3000}, "frames"),
    "heads that do not divide": ({"decoder_attention_heads": 5}, "do not divide"),
}


@pytest.mark.parametrize(("config", "reason"), LIES.values(), ids=LIES)
def test_a_config_is_held_against_the_tensors(
    tmp_path: Path, tensors: Tensors, config: dict[str, object], reason: str
) -> None:
    write_huggingface(tmp_path / "a", tensors, **config)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(tmp_path / "a")


@pytest.mark.parametrize(
    ("heads", "reason"),
    [([[0, 1]], "outside"), ([[2, 0]], "outside"), ([[-1, 0]], "outside"), ([3], "pairs"),
     ("ab", "pairs"), ([[0, 0, 0]], "pairs")],
)  # fmt: skip
def test_alignment_heads_have_to_exist(
    tmp_path: Path, tensors: Tensors, heads: list[list[int]], reason: str
) -> None:
    write_huggingface(tmp_path / "a", tensors, heads=heads)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(tmp_path / "a")


def test_tensors_of_integers_are_refused(tmp_path: Path, tensors: Tensors) -> None:
    rounded = {**tensors, "decoder.ln.weight": torch.zeros(64, dtype=torch.int8)}
    write_huggingface(tmp_path / "a", rounded)
    with pytest.raises(CheckpointError, match="int8"):
        read_checkpoint(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, struct.pack("<Q", 2**62) + b"{}"])
def test_broken_safetensors_are_refused(tmp_path: Path, content: bytes, tensors: Tensors) -> None:
    write_huggingface(tmp_path / "a", tensors)
    (tmp_path / "a" / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "a")


def test_safetensors_that_point_outside_the_file_are_refused(
    tmp_path: Path, tensors: Tensors
) -> None:
    write_huggingface(tmp_path / "a", tensors)
    header = json.dumps({"x": {"dtype": "F16", "shape": [9], "data_offsets": [0, 10**12]}})
    body = struct.pack("<Q", len(header)) + header.encode()
    (tmp_path / "a" / "model.safetensors").write_bytes(body)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / "a")


def ctranslate2_folder(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    (tmp_path / "a" / "model.bin").write_bytes(content)
    return tmp_path / "a"


def variable(name: bytes, shape: tuple[int, ...], kind: int, n_bytes: int) -> bytes:
    head = (
        struct.pack("<I", 6) + struct.pack("<H", 12) + b"WhisperSpec\0" + struct.pack("<II", 3, 1)
    )
    sizes = b"".join(struct.pack("<I", size) for size in shape)
    named = struct.pack("<H", len(name)) + name + struct.pack("<B", len(shape)) + sizes
    return head + named + struct.pack("<BI", kind, n_bytes)


BROKEN = {
    "empty": (b"", "breaks off"),
    "of an older version": (ctranslate2_bytes({}, version=5), "format 6"),
    "of another model": (ctranslate2_bytes({}, spec="TransformerSpec"), "TransformerSpec"),
    "with tensors without end": (ctranslate2_bytes({})[:22] + b"\xff" * 4, "says that it holds"),
    "larger than the file": (variable(b"x\0", (2**31, 2), 4, 2**32 - 1), "cannot be"),
    "sizes that do not fit": (variable(b"x\0", (3,), 4, 4), "cannot be"),
    "of an unknown type": (variable(b"x\0", (1,), 9, 4), "type 9"),
    "of many dimensions": (variable(b"x\0", (1,) * 200, 4, 2), "200 dimensions"),
    "a name that is no text": (variable(b"\xff\xfe", (1,), 4, 2), "cannot be read"),
    "without its tensors": (ctranslate2_bytes({}), "lacks"),
}


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_ctranslate2_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(ctranslate2_folder(tmp_path, content))


def test_a_quantized_ctranslate2_model_is_refused(tmp_path: Path, tensors: Tensors) -> None:
    arrays = ctranslate2_arrays(tensors)
    name = "encoder/layer_0/ffn/linear_0/weight"
    arrays[name] = arrays[name].astype(np.int8)
    with pytest.raises(CheckpointError, match="int8; float16, bfloat16 and float32 are served"):
        read_checkpoint(ctranslate2_folder(tmp_path, ctranslate2_bytes(arrays)))


def test_keys_with_a_bias_are_refused(tmp_path: Path, tensors: Tensors) -> None:
    arrays = ctranslate2_arrays(tensors)
    arrays["encoder/layer_1/self_attention/linear_0/bias"][70] = 1
    with pytest.raises(CheckpointError, match="bias for its keys"):
        read_checkpoint(ctranslate2_folder(tmp_path, ctranslate2_bytes(arrays)))


@pytest.mark.parametrize("n_bytes", [1, 100, 1000, 50_000])
def test_a_torn_ctranslate2_file_is_refused(tmp_path: Path, tensors: Tensors, n_bytes: int) -> None:
    content = ctranslate2_bytes(ctranslate2_arrays(tensors))[:n_bytes]
    with pytest.raises(CheckpointError):
        read_checkpoint(ctranslate2_folder(tmp_path, content))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_checkpoint(tmp_path)
