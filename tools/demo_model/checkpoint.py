"""The trained network as an openai-whisper checkpoint, float16.

The file is deflated: 50,000 of the 51,865 embedding rows are equal, so it takes 4 MB instead of 17.
`torch.load` reads such files (not with mmap=True).
"""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from tools.demo_model.network import DIMENSIONS, DemoNetwork
from tools.demo_model.script import vocabulary


@torch.no_grad()
def state_dict(network: DemoNetwork) -> dict[str, Tensor]:
    state = {name: value.half().cpu() for name, value in network.whisper.state_dict().items()}
    state["decoder.token_embedding.weight"] = _embedding(network).half().cpu()
    return state


def _embedding(network: DemoNetwork) -> Tensor:
    """float32 [n_vocab, width]: the used rows, the timestamps, and one row for all the others"""
    ids = vocabulary()
    compact = network.embedding()
    full = compact[ids.unused].repeat(DIMENSIONS.n_vocab, 1)
    full[torch.tensor(ids.used)] = compact[: ids.unused]
    full[ids.timestamp_begin :] = compact[ids.n_text :]
    return full


def save(network: DemoNetwork, path: Path) -> None:
    plain = io.BytesIO()
    torch.save({"dims": vars(DIMENSIONS), "model_state_dict": state_dict(network)}, plain)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            # A fixed date, so that the same weights make the same file.
            info = zipfile.ZipInfo(entry.filename, date_time=(1980, 1, 1, 0, 0, 0))
            target.writestr(info, source.read(entry), zipfile.ZIP_DEFLATED, compresslevel=9)
