"""Parts of a cluster of several nodes die under load; FAULTS=all kills one of every kind."""

from typing import Any

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.model]


def test_what_dies_costs_nobody_a_word_or_an_upload(seen: dict[str, Any]) -> None:
    """A node lost takes a WhisperService replica and a proxy along, and their connections."""
    assert len(seen["outcomes"]) == seen["n_wanted"], seen["stderr"]
    for outcome in seen["outcomes"]:
        assert outcome["n_word_errors"] == 0, outcome
        assert outcome["n_broken_streams"] == 0, outcome
        assert outcome["n_failed_uploads"] == 0, outcome
        assert outcome["n_uploads"] > 0, outcome
        assert outcome["recovery"] < 120, outcome
