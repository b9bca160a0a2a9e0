"""`python -m unitalking.download`: fetch the public files that an example workflow needs into ComfyUI's model folders.

    python -m unitalking.download                              what there is, and what is there already
    python -m unitalking.download ovi_talking_video [--models ComfyUI/models]

Nothing needs this: the links in the workflows and in the README give the same files. An interrupted download goes on
where it stopped; every file is compared with the checksum that the hub publishes before it gets its name.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from tqdm import tqdm

from .digest import sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
# What the host does not take for a model.
UNFINISHED = ".part"
LINK = re.compile(r"^https?://[^/]+/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")
SHA256 = re.compile(r"^[0-9a-f]{64}$")
READ_BYTES = 1 << 20
PARTIAL, TIMEOUT_S = 206, 30
KEPT = "What has arrived is kept: run the same command again."
# Something for the system besides.
SPARE_BYTES = 1 << 30


class DownloadError(Exception):
    """A file that could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class PublicFile:
    """A file on a hub.

    Attributes:
        name: of the file on disk.
        directory: below ComfyUI's models folder.
        repo, revision, path: where it is on the hub.
    """

    name: str
    directory: str
    repo: str
    revision: str
    path: str

    def url(self, endpoint: str | None) -> str:
        """Its address on the hub, or on a mirror."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repo, self.path, revision=self.revision, endpoint=endpoint)


def files_of(workflow: Path) -> tuple[PublicFile, ...]:
    """The files that a workflow's nodes link to, in order.

    Raises:
        DownloadError: a link of another form than `https://HOST/OWNER/REPO/resolve/REVISION/PATH`.
    """
    nodes = json.loads(workflow.read_text(encoding="utf-8"))["nodes"]
    found = []
    for model in (model for node in nodes for model in node.get("properties", {}).get("models") or ()):
        link = LINK.match(model["url"])
        if link is None:
            raise DownloadError(f"{workflow.name}: the link {model['url']} is not one of a hub; fetch it by hand.")
        found.append(PublicFile(model["name"], model["directory"], **link.groupdict()))
    return tuple(found)


def needed_by() -> dict[str, tuple[PublicFile, ...]]:
    """The files of every example workflow that needs any, by the workflow's name."""
    every = {path.stem: files_of(path) for path in sorted(WORKFLOWS.glob("*.json"))}
    return {name: files for name, files in every.items() if files}


def fetch(
    files: tuple[PublicFile, ...], models: Path, say: Callable[[str], None], endpoint: str | None = None
) -> list[Path]:
    """Downloads what is not there yet; returns where all of them are.

    Args:
        files: which.
        models: ComfyUI's models folder.
        say: told one line about every file.
        endpoint: address of a mirror of the hub; None: the hub.

    Raises:
        DownloadError: no such file, no permission, no connection, no space, or a file that is not what was announced.
    """
    from huggingface_hub import get_hf_file_metadata

    missing, total = [], 0
    for file in files:
        target = models / file.directory / file.name
        try:
            about = get_hf_file_metadata(file.url(endpoint))
        except Exception as error:  # the hub's, or those of the HTTP library that it happens to use
            raise DownloadError(_refused(file, error)) from error
        if target.is_file() and target.stat().st_size == about.size:
            say(f"{target}: there already")
            continue
        if target.exists():
            raise DownloadError(
                f"{target} is there with {target.stat().st_size} bytes, the hub's has {about.size}: another file, or a "
                "broken download. Move or delete it, and run this again."
            )
        missing.append((file, target, about))
        total += (about.size or 0) - _begun(target)
    models.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(models).free
    if missing and free < total + SPARE_BYTES:
        raise DownloadError(
            f"{models}: {total / 1e9:.1f} GB are to come, {free / 1e9:.1f} GB are free. Free some space."
        )
    for file, target, about in missing:
        _download(file, target, about, say, endpoint)
    return [models / file.directory / file.name for file in files]


def _download(
    file: PublicFile, target: Path, about: HfFileMetadata, say: Callable[[str], None], endpoint: str | None
) -> None:
    """Fetches into `target`.part from where an earlier run stopped; the library itself begins anew in every process."""
    from huggingface_hub.utils import build_hf_headers

    say(f"{target}: {(about.size or 0) / 1e9:.2f} GB from {file.repo}")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished, begun = _unfinished(target), _begun(target)
    if begun < (about.size or 0):
        hub, store = (urlsplit(address).netloc for address in (file.url(endpoint), about.location))
        headers = build_hf_headers() if store == hub else {}  # a login is nobody else's business
        headers |= {"Range": f"bytes={begun}-"} if begun else {}
        try:
            with urlopen(Request(about.location, headers=headers), timeout=TIMEOUT_S) as answer:
                _receive(answer, unfinished, begun if answer.status == PARTIAL else 0, about.size)
        except (HTTPException, OSError) as error:
            raise DownloadError(f"{_refused(file, error)} {KEPT}") from error
        if _begun(target) < about.size:
            raise DownloadError(f"{_refused(file, ConnectionError('it broke off'))} {KEPT}")
    _check(file, unfinished, about)
    unfinished.replace(target)


def _receive(answer: HTTPResponse, path: Path, begun: int, size: int) -> None:
    with (
        path.open("ab" if begun else "wb") as out,
        tqdm(total=size, initial=begun, unit="B", unit_scale=True) as shown,
    ):
        while part := answer.read(READ_BYTES):
            out.write(part)
            shown.update(len(part))


def _check(file: PublicFile, path: Path, about: HfFileMetadata) -> None:
    """Deletes what is not what the hub announced."""
    wrong = ""
    if path.stat().st_size != about.size:
        wrong = f"{path.stat().st_size} bytes, the hub says {about.size}"
    elif SHA256.match(about.etag or "") and (found := sha256_of(path)) != about.etag:
        wrong = f"SHA-256 {found}, the hub says {about.etag}"
    if wrong:
        path.unlink()
        raise DownloadError(
            f"{file.name}: {wrong}. It was damaged on the way and is deleted: run the same command again."
        )


def _unfinished(target: Path) -> Path:
    return target.with_name(target.name + UNFINISHED)


def _begun(target: Path) -> int:
    """Bytes of a file that an earlier run has got."""
    unfinished = _unfinished(target)
    return unfinished.stat().st_size if unfinished.exists() else 0


def _refused(file: PublicFile, error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "code", None)
    reason = {
        401: "it needs a login: `hf auth login` first",
        403: "you may not read it: accept its licence on its page, then `hf auth login`",
        404: "there is no such file any more: look for its new place, and tell us",
    }.get(status, f"{type(error).__name__}: {error}".rstrip("."))
    return f"{file.name} of {file.repo} could not be fetched: {reason}."


def models_folder() -> Path | None:
    """ComfyUI's models folder, where this pack lies in its custom_nodes; None elsewhere."""
    folder = ROOT.parent.parent / "models"
    return folder if ROOT.parent.name == "custom_nodes" and folder.is_dir() else None


def main(arguments: list[str] | None = None) -> int:
    """Lists, or fetches; the exit status."""
    sets = needed_by()
    parser = argparse.ArgumentParser("python -m unitalking.download", description=__doc__.splitlines()[0])
    parser.add_argument("workflow", nargs="*", help=f"whose files: {', '.join(sets)}; none: list them")
    parser.add_argument("--models", type=Path, default=models_folder(), help="ComfyUI's models folder")
    parser.add_argument("--endpoint", help="a mirror of the hub")
    given = parser.parse_args(arguments)
    if not given.workflow:
        for name, files in sets.items():
            print(f"{name}:")
            for file in files:
                is_there = given.models is not None and (given.models / file.directory / file.name).is_file()
                print(f"  models/{file.directory}/{file.name}  {file.repo}{'  (there)' if is_there else ''}")
        return 0
    unknown = set(given.workflow) - set(sets)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected {' or '.join(sets)}")
    if given.models is None:
        parser.error("this pack does not lie in ComfyUI/custom_nodes: give --models FOLDER")
    files = tuple(dict.fromkeys(file for name in given.workflow for file in sets[name]))
    try:
        fetch(files, given.models, print, given.endpoint)
    except DownloadError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
