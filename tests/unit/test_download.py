"""Downloads from a local server that behaves like the hub: it breaks off, lies, refuses."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

from unitalking import download
from unitalking.download import DownloadError, PublicFile, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = PublicFile("model.safetensors", "diffusion_models", "someone/Thing", "main", "folder/model.safetensors")
OTHER = PublicFile("vae.safetensors", "vae", "someone/Other", "main", "vae.safetensors")


@dataclass
class Hub:
    """What the server has, does wrong, and was asked for."""

    files: dict[str, bytes]
    endpoint: str = ""
    breaks_after: int | None = None
    checksum: str | None = None
    status: int = 200
    goes_on: bool = True
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def hub() -> Iterator[Hub]:
    thing = bytes(range(256)) * 4096
    hub = Hub({"/someone/Thing/resolve": thing, "/someone/Other/resolve": b"small"})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, *, with_body: bool) -> None:
            place, _, _ = self.path.partition("/resolve/")
            data = hub.files.get(f"{place}/resolve")
            status = hub.status if data is not None else 404
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            wanted = self.headers.get("Range")
            start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and with_body and hub.goes_on else 0
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hub.checksum or hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if with_body:
                hub.ranges.append(wanted)
                stop = len(data) if hub.breaks_after is None else start + hub.breaks_after
                self.wfile.write(data[start:stop])
                self.close_connection = hub.breaks_after is not None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()


def left_over(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_files_come_to_the_folders_that_the_host_reads(hub: Hub, tmp_path: Path) -> None:
    said: list[str] = []
    found = fetch((FILE, OTHER), tmp_path, said.append, hub.endpoint)
    assert found == [tmp_path / "diffusion_models" / "model.safetensors", tmp_path / "vae" / "vae.safetensors"]
    assert found[0].read_bytes() == hub.files["/someone/Thing/resolve"]
    assert found[1].read_bytes() == b"small"
    assert left_over(tmp_path) == sorted(found)
    before = len(hub.ranges)
    assert fetch((FILE, OTHER), tmp_path, said.append, hub.endpoint) == found
    assert len(hub.ranges) == before  # nothing is fetched twice
    assert said[-1].endswith("vae.safetensors: there already")


def test_an_interrupted_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.files["/someone/Thing/resolve"] = bytes(range(256)) * (6 << 12)
    hub.breaks_after = 5 << 19
    with pytest.raises(DownloadError, match=r"(?s)model.safetensors of someone/Thing could not be fetched.*is kept"):
        fetch((FILE,), tmp_path, print, hub.endpoint)
    target = tmp_path / "diffusion_models" / "model.safetensors"
    assert not target.exists()  # no half file under the name that the host offers
    (unfinished,) = left_over(tmp_path)
    begun = unfinished.stat().st_size
    assert (unfinished.suffix, begun >= 2 << 20) == (".part", True)
    hub.breaks_after, hub.ranges[:] = None, []
    fetch((FILE,), tmp_path, print, hub.endpoint)
    assert hub.ranges == [f"bytes={begun}-"]
    assert target.read_bytes() == hub.files["/someone/Thing/resolve"]
    assert left_over(tmp_path) == [target]


def test_a_server_that_cannot_go_on_begins_anew(hub: Hub, tmp_path: Path) -> None:
    hub.goes_on = False
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "vae.safetensors.part").write_bytes(b"sm")
    try:
        (found,) = fetch((OTHER,), tmp_path, print, hub.endpoint)
    except DownloadError as error:
        pytest.fail(str(error))
    assert hub.ranges == ["bytes=2-"]
    assert found.read_bytes() == b"small"


def test_no_connection_is_said(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"vae.safetensors of someone/Other could not be fetched: \w+: .*"):
        fetch((OTHER,), tmp_path, print, "http://127.0.0.1:9")


def test_a_file_that_is_not_what_the_hub_announces_is_deleted(hub: Hub, tmp_path: Path) -> None:
    hub.checksum = "ab" * 32
    with pytest.raises(DownloadError, match=r"SHA-256 [0-9a-f]{64}, the hub says abab.*run the same command again"):
        fetch((FILE,), tmp_path, print, hub.endpoint)
    assert left_over(tmp_path) == []


def test_another_file_of_that_name_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "vae.safetensors").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"there with 4 bytes, the hub's has 5: another file"):
        fetch((OTHER,), tmp_path, print, hub.endpoint)
    assert (tmp_path / "vae" / "vae.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "it needs a login"),
        (403, "you may not read it: accept its licence"),
        (404, "there is no such file any more"),
    ],
)
def test_a_refusal_says_what_to_do(hub: Hub, tmp_path: Path, status: int, advice: str) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=rf"model.safetensors of someone/Thing could not be fetched: {advice}"):
        fetch((FILE,), tmp_path, print, hub.endpoint)


def test_a_full_disk_is_noticed_before_anything_comes(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SPARE_BYTES", 1 << 60)
    with pytest.raises(DownloadError, match=r"0.0 GB are to come, [\d.]+ GB are free. Free some space"):
        fetch((FILE,), tmp_path, print, hub.endpoint)
    assert hub.ranges == []


def test_what_the_workflows_link_to_is_what_can_be_fetched() -> None:
    sets = download.needed_by()
    assert set(sets) == {"ovi_talking_video", "wan_video_only", "with_frame_interpolation", "with_upscaler"}
    wan = sets["wan_video_only"][0]
    assert wan.path.endswith(f"/{wan.name}")
    assert (wan.directory, wan.revision) == ("diffusion_models", "main")
    assert all(file.path.rpartition("/")[2] == file.name for files in sets.values() for file in files)


def test_the_command_lists_and_fetches(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "needed_by", lambda: {"both": (FILE, OTHER)})
    models = ["--models", str(tmp_path)]
    assert download.main(["both", *models, "--endpoint", hub.endpoint]) == 0
    assert download.main(models) == 0
    assert "models/vae/vae.safetensors  someone/Other  (there)" in capsys.readouterr().out
    hub.status = 403
    assert download.main(["both", "--models", str(tmp_path / "new"), "--endpoint", hub.endpoint]) == 1
    assert "accept its licence" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        download.main(["nothing", *models])
    assert "nothing: expected both" in capsys.readouterr().err
