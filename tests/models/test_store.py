"""Where the weights of a name come from, and what each source says that has none."""

from pathlib import Path

import pytest

from whisper_service.errors import ModelUnavailable, UnknownModel
from whisper_service.models import names
from whisper_service.models.hub import Hub
from whisper_service.models.progress import Progress
from whisper_service.models.store import ModelStore
from whisper_service.models.weight_files import FetchError, Weights
from whisper_service.settings import Settings


class Scripted:
    """A source that has some models, and refuses the others it offers."""

    def __init__(self, title: str, *has: str, offers: tuple[str, ...] = ("tiny",)) -> None:
        self.title, self._has, self._offers = title, has, offers
        self.asked: list[str] = []

    def find(self, name: str) -> Weights | None:
        return None

    def can_fetch(self, name: str) -> bool:
        return name in self._offers

    def fetch(self, name: str, progress: Progress) -> Weights:
        self.asked.append(name)
        if name not in self._has:
            raise FetchError("it is closed")
        return Weights(Path(f"/{self.title}/{name}"))


def folder_of(tmp_path: Path, *model_names: str, tensors: str = "model.safetensors") -> None:
    for name in model_names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text('{"vocab_size": 51864}')
        (tmp_path / name / tensors).touch()


@pytest.mark.parametrize("tensors", ["model.safetensors", "model.bin"])
def test_folders_and_files_are_served_by_their_names(tmp_path: Path, tensors: str) -> None:
    folder_of(tmp_path, "tuned", tensors=tensors)
    (tmp_path / "mine-v2.pt").touch()
    (tmp_path / "notes").mkdir()
    store = ModelStore(tmp_path)
    assert store.ensure("tuned") == Weights(tmp_path / "tuned")
    assert store.ensure("mine-v2") == Weights(tmp_path / "mine-v2.pt")
    assert store.names()[-2:] == ["mine-v2", "tuned"]


def test_a_checkpoint_in_several_files_needs_all_of_them(tmp_path: Path) -> None:
    folder_of(tmp_path, "big", tensors="model-00001-of-00002.safetensors")
    index = '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "%s"}}'
    (tmp_path / "big" / "model.safetensors.index.json").write_text(index % "model-2.safetensors")
    assert ModelStore(tmp_path).find("big") is None
    (tmp_path / "big" / "model-2.safetensors").touch()
    assert ModelStore(tmp_path).find("big")
    (tmp_path / "big" / "model.safetensors.index.json").write_text(index % "../../etc/passwd")
    assert ModelStore(tmp_path).find("big") is None


def test_sources_are_asked_in_turn(tmp_path: Path) -> None:
    first, second, third = Scripted("first"), Scripted("second", "tiny"), Scripted("third", "tiny")
    store = ModelStore(tmp_path, None, [first, second, third])
    assert store.ensure("tiny").path == Path("/second/tiny")
    assert [first.asked, second.asked, third.asked] == [["tiny"], ["tiny"], []]


def test_what_is_on_disk_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tiny.pt").touch()
    source = Scripted("host", "tiny")
    assert ModelStore(tmp_path, None, [source]).ensure("tiny").path == tmp_path / "tiny.pt"
    assert source.asked == []


def test_every_source_says_why_it_has_none(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, None, [Scripted("OpenAI's host"), Scripted("the index")])
    with pytest.raises(ModelUnavailable) as caught:
        store.ensure("tiny")
    assert "(OpenAI's host: it is closed; the index: it is closed)" in caught.value.message
    assert caught.value.details == {"model": "tiny", "path": str(tmp_path / "tiny.pt")}


def test_without_downloads_the_message_says_where_to_put_the_weights(tmp_path: Path) -> None:
    store = ModelStore.of(Settings(model_dir=tmp_path, download_models=False))
    with pytest.raises(ModelUnavailable) as caught:
        store.require("turbo")
    assert str(tmp_path / "large-v3-turbo.pt") in caught.value.message


@pytest.mark.parametrize(
    "name",
    ["nonsense", "", ".", "..", "../demo", "/etc/passwd", "a/b", "a\\b", "demo\n", ".hidden",
     "%2e%2e", "x" * 200, "tiny\x00", "ünïcode"],
)  # fmt: skip
def test_unknown_or_unsafe_name_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "demo.pt").touch()
    with pytest.raises(UnknownModel) as caught:
        ModelStore(tmp_path / "folder").ensure(name)
    assert "tiny" in caught.value.details["allowed"]
    assert caught.value.details["got"] == name[:100]


def test_the_bundled_model_wins_over_one_in_the_folder(demo_path: Path, tmp_path: Path) -> None:
    (tmp_path / "demo.pt").touch()
    assert ModelStore(tmp_path).ensure("demo").path == demo_path


def test_what_answers_now_is_listed_first(tmp_path: Path) -> None:
    (tmp_path / "tiny.en.pt").touch()
    store = ModelStore(tmp_path, Hub(["some/finetune"], timeout=1), [Scripted("host")])
    listed = store.statuses({"large-v3"})
    assert [status.name for status in listed][:5] == [
        "large-v3",
        "large",
        "tiny.en",
        "demo",
        "tiny",
    ]
    by_name = {status.name: status for status in listed}
    assert by_name["large"].is_loaded
    assert by_name["tiny.en"].has_weights
    assert not by_name["tiny.en"].can_download
    assert by_name["tiny"].can_download
    assert not by_name["small"].is_usable
    assert "some/finetune" in by_name
    assert by_name["small"].path == str(tmp_path / "small.pt")


def test_a_folder_says_whether_it_knows_more_than_english(tmp_path: Path) -> None:
    folder_of(tmp_path, "tuned")
    (status,) = (s for s in ModelStore(tmp_path).statuses(set()) if s.name == "tuned")
    assert not status.is_multilingual


def test_a_setting_may_name_a_model_as_it_is_published(tmp_path: Path) -> None:
    folder_of(tmp_path, "whisper-small")
    store = ModelStore(tmp_path)
    assert store.canonical("openai/whisper-base") == "base"
    assert store.canonical("turbo") == "large-v3-turbo"
    assert store.canonical("whisper-small") == "whisper-small"
    assert store.canonical("mine") == "mine"


def test_short_names_are_one_model() -> None:
    assert names.canonical_name("large") == names.canonical_name("large-v3") == "large-v3"
    assert names.canonical_name("mine") == "mine"
