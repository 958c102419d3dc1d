from hypothesis import given
from hypothesis import strategies as st

from whisper_service.api.fronts.deepgram.channels import Splitter


@given(st.integers(0, 96), st.sampled_from([1, 2]), st.integers(1, 4))
def test_channels_do_not_depend_on_how_bytes_were_cut(cut, sample_bytes, n_channels):
    data = bytes(range(48)) * 2
    splitter = Splitter(sample_bytes, n_channels)
    heard = [b""] * n_channels
    for part in (data[:cut], data[cut:]):
        heard = [old + new for old, new in zip(heard, splitter.split(part), strict=True)]
    whole = Splitter(sample_bytes, n_channels).split(data)
    assert heard == whole
    assert whole[-1][:sample_bytes] == data[(n_channels - 1) * sample_bytes :][:sample_bytes]
