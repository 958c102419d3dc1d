"""The demo model while it is trained: openai-whisper's modules over the compact vocabulary.

Three things differ from a plain Whisper, and none of them is left in the checkpoint:
- the 1,501 timestamp rows of the token embedding are one linear map of the encoder's positional
  vectors, since timestamp k and encoder frame k are the same 20 ms;
- one row stands for all the unused tokens, with the logarithm of their number added to its logit;
- windows may be short and lie anywhere among the 1,500 encoder positions.

Attention begins near what it has to become: the encoder's looks at fixed distances, through the
sinusoids, and the decoder's last cross-attention copies what it attends to.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from whisper.model import ModelDimensions, MultiHeadAttention, Whisper, sinusoids

from tools.demo_model.script import N_FRAMES, vocabulary

WIDTH = 128
N_HEADS = 4
DIMENSIONS = ModelDimensions(
    n_mels=80, n_audio_ctx=N_FRAMES, n_audio_state=WIDTH, n_audio_head=N_HEADS, n_audio_layer=3,
    n_vocab=51865, n_text_ctx=448, n_text_state=WIDTH, n_text_head=N_HEADS, n_text_layer=3,
)  # fmt: skip

# Frames that the encoder's heads look away from their own at first: a word is 15 to 40 frames long.
_ENCODER_DISTANCES = ((-3, 3, -8, 8), (-5, 5, -14, 14), (-10, 10, -24, 24))
_DECODER_DISTANCES = ((-1, -2, -3, 0), (-1, -2, -4, 0), (-1, -2, -3, 0))
_FUSED_FROM, _BAND = 300, 100  # frames
_SHARPNESS = 2.0  # puts the attended place about 9 above the others, against log 1500 = 7.3 of them


@dataclass(frozen=True, slots=True)
class Output:
    """logits [B, T, n_text + 1501]; attention [B, H, T, N], by layer; frames: the word
    heard in each, and previous: the word before it, both [B, N, n_words + 1]"""

    logits: Tensor
    attention: list[Tensor]
    frames: Tensor
    previous: Tensor


class DemoNetwork(nn.Module):
    def __init__(self, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.dtype = dtype
        ids = vocabulary()
        dims = ModelDimensions(**{**vars(DIMENSIONS), "n_vocab": ids.n_text})
        self.whisper = Whisper(dims)
        self.time_map = nn.Linear(WIDTH, WIDTH)
        self.previous = nn.Linear(WIDTH, WIDTH, bias=False)
        self.silence = nn.Parameter(torch.zeros(WIDTH))
        self.times: Tensor
        self.first_tokens: Tensor
        self.register_buffer("times", sinusoids(N_FRAMES + 1, WIDTH), persistent=False)
        self.register_buffer("first_tokens", torch.tensor(ids.first_tokens), persistent=False)
        self.log_unused = math.log(ids.n_unused)
        _initialise(self)

    def embedding(self) -> Tensor:
        """float32 [n_text + 1501, WIDTH]"""
        return torch.cat([self.whisper.decoder.token_embedding.weight, self.time_map(self.times)])

    def forward(
        self, mel: Tensor, first_frames: Tensor, tokens: Tensor, *, is_banded: bool = False
    ) -> Output:
        """mel: float32 [B, 80, 2 N]; first_frames: int64 [B]; tokens: int64 [B, T]"""
        embedding = self.embedding()
        audio = self.encode(mel, first_frames, is_banded=is_banded)
        text, attention = self._decode(embedding[tokens], audio)
        embedding = embedding.to(self.dtype)
        logits = text.to(self.dtype) @ embedding.T
        bias = torch.zeros(len(embedding), device=mel.device)
        bias[vocabulary().unused] = self.log_unused
        words = torch.cat([embedding[self.first_tokens], self.silence[None].to(self.dtype)]).T
        return Output(
            logits=logits.float() + bias,
            attention=attention,
            frames=(audio @ words).float(),
            previous=(audio @ self.previous.weight.to(self.dtype) @ words).float(),
        )

    def encode(self, mel: Tensor, first_frames: Tensor, *, is_banded: bool = False) -> Tensor:
        """[B, N, WIDTH], the windows placed from `first_frames` on. Banded, a frame attends to one
        to three seconds around it: what it does anyway, and three times cheaper on 30 s."""
        attend = _attend_nearby if is_banded else _attend_all
        encoder = self.whisper.encoder
        x = functional.gelu(encoder.conv1(mel.to(self.dtype)))
        x = functional.gelu(encoder.conv2(x)).permute(0, 2, 1)
        positions = first_frames[:, None] + torch.arange(x.shape[1], device=x.device)
        x = x.float() + encoder.positional_embedding[positions]
        for block in encoder.blocks:
            normed = block.attn_ln(x).to(self.dtype)
            x = x + attend(block.attn, normed)
            x = x + block.mlp(block.mlp_ln(x).to(self.dtype))
        return encoder.ln_post(x).to(self.dtype)  # type: ignore[no-any-return]

    def _decode(self, x: Tensor, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        decoder = self.whisper.decoder
        x = x + decoder.positional_embedding[: x.shape[1]]
        attention = []
        for block in decoder.blocks:
            normed = block.attn_ln(x).to(self.dtype)
            x = x + _attend(block.attn, normed, normed, decoder.mask)[0]
            normed = block.cross_attn_ln(x).to(self.dtype)
            heard, weights = _attend(block.cross_attn, normed, audio)
            x = x + heard
            x = x + block.mlp(block.mlp_ln(x).to(self.dtype))
            attention.append(weights)
        return decoder.ln(x), attention


def _attend_all(attention: MultiHeadAttention, x: Tensor) -> Tensor:
    """x [B, N, W], as whisper's; torch's fused attention is the faster one from 300 frames on."""
    if x.shape[1] <= _FUSED_FROM:
        return _attend(attention, x, x)[0]
    query, key, value = _heads(attention, x, x)
    heard = functional.scaled_dot_product_attention(query, key, value)
    return attention.out(heard.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _attend_nearby(attention: MultiHeadAttention, x: Tensor) -> Tensor:
    """x [B, N, W], N a multiple of _BAND: every _BAND frames attend to themselves and to half as
    many on both sides; at the window's ends the frames beyond are repeated from within."""
    bands = x.view(len(x), -1, _BAND, WIDTH)
    half = _BAND // 2
    before = torch.cat([bands[:, :1, half:], bands[:, :-1, half:]], dim=1)
    after = torch.cat([bands[:, 1:, :half], bands[:, -1:, :half]], dim=1)
    nearby = torch.cat([before, bands, after], dim=2).flatten(0, 1)
    return _attend(attention, bands.flatten(0, 1), nearby)[0].view_as(x)


def _heads(attention: MultiHeadAttention, x: Tensor, audio: Tensor) -> list[Tensor]:
    """query [B, H, T, d], key and value [B, H, N, d]"""
    projected = (attention.query(x), attention.key(audio), attention.value(audio))
    return [y.unflatten(-1, (attention.n_head, -1)).transpose(1, 2) for y in projected]


def _attend(
    attention: MultiHeadAttention, x: Tensor, audio: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """As whisper's, from x [B, T, W] to audio [B, N, W]; with the weights [B, H, T, N]."""
    query, key, value = _heads(attention, x, audio)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask[: x.shape[1], : x.shape[1]].to(scores.dtype)
    weights = scores.softmax(dim=-1)
    return attention.out((weights @ value).transpose(1, 2).flatten(2)), weights


def _initialise(network: DemoNetwork) -> None:
    encoder, decoder = network.whisper.encoder, network.whisper.decoder
    nn.init.normal_(decoder.token_embedding.weight, std=WIDTH**-0.5)
    decoder.positional_embedding.data = 0.1 * sinusoids(DIMENSIONS.n_text_ctx, WIDTH)
    network.time_map.weight.data = 0.1 * torch.eye(WIDTH)
    nn.init.zeros_(network.time_map.bias)
    for block, distances in zip(encoder.blocks, _ENCODER_DISTANCES, strict=True):
        _look_at(block.attn, distances)
    _look_at(decoder.blocks[0].attn, _DECODER_DISTANCES[0])
    copy = decoder.blocks[-1].cross_attn
    copy.value.weight.data = torch.eye(WIDTH)
    copy.out.weight.data = torch.eye(WIDTH)


def _look_at(attention: MultiHeadAttention, distances: tuple[int, ...]) -> None:
    """Each head attends to the position at its distance: q.k = sum of cos(w (i + distance - j))."""
    for head, distance in enumerate(distances):
        _look_from(attention, head, distance)


def _look_from(attention: MultiHeadAttention, head: int, distance: int) -> None:
    half, lanes = WIDTH // 2, WIDTH // N_HEADS
    query, key = attention.query.weight.data, attention.key.weight.data
    rows = slice(head * lanes, (head + 1) * lanes)
    query[rows], key[rows] = 0.0, 0.0
    for pair in range(lanes // 2):
        frequency = pair + pair // 4  # from 1 to 0.06 radians a frame: peaks some five frames wide
        angle = distance * math.exp(-frequency * math.log(10_000) / (half - 1))
        sine, cosine = head * lanes + 2 * pair, head * lanes + 2 * pair + 1
        key[sine, frequency] = key[cosine, half + frequency] = _SHARPNESS
        query[sine, frequency] = query[cosine, half + frequency] = _SHARPNESS * math.cos(angle)
        query[sine, half + frequency] = _SHARPNESS * math.sin(angle)
        query[cosine, frequency] = -_SHARPNESS * math.sin(angle)
