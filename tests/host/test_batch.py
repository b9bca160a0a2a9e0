"""`python -m unitalking.batch` against real servers: one that dies, one that comes back, rows that cannot be made."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import aiohttp
import av
import pytest
from shaky_line import ShakyLine, shaky_line
from tiny_model import TINY_MODEL

from unitalking.batch.__main__ import main
from unitalking.batch.run import Batch, BatchError
from unitalking.batch.server import Server, ServerLostError
from unitalking.batch.table import Row

if TYPE_CHECKING:
    from comfyui import ComfyUI

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / "workflows" / "talking_portrait_voice.json"
STEPS = ("UniTalkingJointSampler", "steps", 2)
TINY = (STEPS, ("UniTalkingModelLoader", "model", TINY_MODEL.name))
FACES = ("amara", "finn", "joseph", "lena")


@pytest.fixture
def server(host: ComfyUI) -> Iterator[ComfyUI]:
    """The server of all tests, its input folder empty again afterwards."""
    host.post("/history", {"clear": True})
    yield host
    for path in (host.base_directory / "input").rglob("*.*"):
        path.unlink()


def command(table: Path, out: Path, *urls: str, model: bool = True) -> list[str]:
    """The options for a table on these servers, with the tiny model or the pack's own."""
    settings = [f"{class_type}.{name}={value}" for class_type, name, value in (TINY if model else (STEPS,))]
    options = [option for setting in settings for option in ("--set", setting)]
    return [str(table), "--out", str(out), *options, *(option for url in urls for option in ("--server", url))]


def started(arguments: list[str]) -> subprocess.Popen[str]:
    """The command in a process of its own, as a shell starts one in the background: interrupts are ignored."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.Popen(
        [sys.executable, "-m", "unitalking.batch", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),
    )


def report(out: Path) -> dict[str, dict[str, str]]:
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        return {line["name"]: line for line in csv.DictReader(file)}


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        lines.writeheader()
        lines.writerows(rows)
    return path


def batch(rows: list[Row], urls: list[str], out: Path, **options: object) -> Batch:
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    return Batch(rows, urls, out, workflow, settings=TINY, **options)


def queued(server: ComfyUI) -> int:
    return sum(map(len, server.get("/queue").values()))


def check_clip(path: Path, row: dict[str, object]) -> None:
    """It can be read to its end, sounds, and is of what its row asks for."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    with av.open(str(path)) as file:
        loudest = max(abs(frame.to_ndarray()).max() for frame in file.decode(audio=0))
        prompt = {node["class_type"]: node["inputs"] for node in json.loads(file.metadata["prompt"]).values()}
    assert len(frames) > 1
    assert loudest > 0.01
    assert prompt["UniTalkingTextPrompt"]["speech"] == row["speech"]
    assert prompt["UniTalkingPortrait"]["sample_portrait"] == row["portrait"]
    assert prompt["UniTalkingJointSampler"]["seed"] == row["seed"]


def test_twenty_rows_are_made_though_one_of_two_servers_is_killed(comfyui_path: Path, tmp_path: Path) -> None:
    from comfyui import ComfyUI

    rows = [
        {"name": f"row {number:02}", "speech": "Hi.", "portrait": FACES[number % 4], "seed": number}
        for number in range(20)
    ]
    table, out = write_table(tmp_path / "table.csv", rows), tmp_path / "clips"
    servers = [ComfyUI(comfyui_path, tmp_path / name) for name in ("stays", "dies")]
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(ComfyUI.start, servers))
        stays, dies = servers
        process = started(command(table, out, stays.url, dies.url, model=False))
        said = []
        for line in process.stderr:
            said.append(line)
            if dies.process.returncode is None and len(list(out.glob("*.mp4"))) >= 8 and queued(dies):
                dies.process.kill()
                dies.process.wait()
        assert process.wait() == 0, "".join(said)
    finally:
        for server in servers:
            server.stop()
    assert any(f"{dies.url} does not answer" in line for line in said)
    assert {path.name for path in out.iterdir()} == {"report.csv", *(f"{row['name']}.mp4" for row in rows)}
    for row in rows:
        check_clip(out / f"{row['name']}.mp4", row)
    lines = report(out)
    assert list(lines) == [row["name"] for row in rows]
    assert {line["status"] for line in lines.values()} == {"done"}
    assert [line["seed"] for line in lines.values()] == [str(row["seed"]) for row in rows]
    for server in servers:
        made = {path.stem.rsplit("_", 2)[0] for path in (server.base_directory / "output").rglob("*.mp4")}
        reported = {name for name, line in lines.items() if line["server"] == server.url}
        assert reported
        assert reported <= made
    assert "2" in {line["tries"] for line in lines.values()}


def test_server_that_comes_back_goes_on(server: ComfyUI, tmp_path: Path) -> None:
    rows = [Row(f"row {number}", "Hi.", seed=number) for number in range(5)]
    said = []
    with shaky_line(server.port) as line:

        def cut_and_mend(text: str) -> None:
            said.append(text)
            if text.startswith("[1/5]"):
                line.cut()
            elif text.startswith(f"{line.url} does not answer"):
                line.mend()

        made = batch(rows, [line.url], tmp_path, say=cut_and_mend)
        asyncio.run(made.run())
    assert f"{line.url} answers." in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{row.name}.mp4" for row in rows]
    assert max(job.tries for job in made.schedule.jobs) == 2
    assert len(server.get("/history")) == len(rows)


def test_batch_ends_when_no_server_answers_any_more(server: ComfyUI, tmp_path: Path) -> None:
    rows = [Row(f"row {number}", "Hi.", seed=10 + number) for number in range(4)]
    with shaky_line(server.port) as line:
        made = batch(rows, [line.url], tmp_path, wait_s=0, say=lambda text: text.startswith("[1/4]") and line.cut())
        with pytest.raises(BatchError, match=f"No server has answered for 0 s; {line.url} does not answer"):
            asyncio.run(made.run())
    assert [job.status for job in made.schedule.jobs].count("left") == 3


def test_what_others_took_over_is_cancelled_where_it_was(server: ComfyUI, tmp_path: Path) -> None:
    slow = batch([Row("slow", "Hi.", seed=60)], [server.url], tmp_path, say=print)
    slow._settings = (*TINY, ("UniTalkingJointSampler", "steps", 1000))

    async def leave_behind_and_come_back() -> str:
        async with aiohttp.ClientSession() as session:
            client = Server(session, server.url)
            await slow._connect(client)
            await slow._submit(client, slow.schedule.take(server.url))
            (prompt_id,) = slow._given[server.url].values()
            while (await client.job(prompt_id))["status"] == "pending":
                await asyncio.sleep(0.05)
            slow.schedule.lose(server.url, "gone")
            slow.schedule.live.add("another")
            slow.schedule.take("another")
            await slow._connect(client)
            for _ in range(100):
                if (status := (await client.job(prompt_id))["status"]) != "in_progress":
                    break
                await asyncio.sleep(0.05)
            await client.cancel([prompt_id])
            return status

    assert asyncio.run(leave_behind_and_come_back()) == "cancelled"


def test_row_that_cannot_be_made_is_given_up_and_the_others_are_made(
    server: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kein Bild, ä.png").write_text("neither")
    rows = [{"name": "good", "speech": "Hi."}, {"name": "bad", "speech": "Hi.", "portrait": "kein Bild, ä.png"}]
    out = tmp_path / "clips"
    arguments = command(write_table(tmp_path / "table.csv", rows), out, server.url)
    assert main([*arguments, "--retries", "1"]) == 1
    lines = report(out)
    assert (lines["good"]["status"], lines["good"]["tries"]) == ("done", "1")
    assert (lines["bad"]["status"], lines["bad"]["tries"], lines["bad"]["file"]) == ("failed", "2", "")
    assert "kein Bild, ä.png" in lines["bad"]["error"]
    said = capsys.readouterr()
    assert f"FAILED 2 times: {lines['bad']['error']}" in said.err
    assert said.out == f"{out / 'report.csv'}\n"
    assert not (out / "bad.mp4").exists()


def test_given_files_are_what_the_clip_is_made_from(server: ComfyUI, tmp_path: Path) -> None:
    for folder, name in (("portraits", "finn.jpg"), ("voices", "alice_clear.flac")):
        shutil.copyfile(ROOT / "assets" / folder / name, tmp_path / f"my {name}")
    rows = [{"name": "mine", "speech": "Hi.", "portrait": "my finn.jpg", "voice": "my alice_clear.flac"}]
    assert main(command(write_table(tmp_path / "table.csv", rows), tmp_path, server.url)) == 0
    with av.open(str(tmp_path / "mine.mp4")) as file:
        prompt = json.loads(file.metadata["prompt"])
    classes = {node["class_type"]: node["inputs"] for node in prompt.values()}
    for loader, key, taker, socket in (
        ("LoadImage", "image", "UniTalkingPortrait", "image"),
        ("LoadAudio", "audio", "UniTalkingEncodeVoiceReference", "audio"),
    ):
        assert prompt[classes[taker][socket][0]]["class_type"] == loader
        uploaded = server.base_directory / "input" / classes[loader][key]
        given = rows[0]["portrait" if loader == "LoadImage" else "voice"]
        assert uploaded.name.endswith(f"_{given}")
        assert uploaded.read_bytes() == (tmp_path / given).read_bytes()


def test_refused_value_is_the_rows_failure(server: ComfyUI, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", [{"name": "one", "speech": "Hi."}])
    arguments = command(table, tmp_path, server.url)
    assert main([*arguments, "--retries", "0", "--set", "UniTalkingJointSampler.steps=-5"]) == 1
    assert re.search(r"UniTalkingJointSampler.*steps", report(tmp_path)["one"]["error"])


def test_same_command_makes_only_what_is_missing_and_fetches_what_was_made(
    server: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"name": f"row {number}", "speech": "Hi.", "seed": 20 + number} for number in range(3)]
    table, out = write_table(tmp_path / "table.csv", rows), tmp_path / "clips"
    assert main(command(table, out, server.url)) == 0
    before, content = report(out), (out / "row 1.mp4").read_bytes()
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    (out / "row 1.mp4").unlink()
    capsys.readouterr()
    assert main(command(table, out, server.url)) == 0
    assert "3 rows, 2 of them made before." in capsys.readouterr().err
    assert (out / "row 1.mp4").read_bytes() == content
    assert len(server.get("/history")) == 3
    assert report(out) == before
    assert [path.name for path in out.glob("*.mp4") if path.stat().st_mtime_ns != times[path.name]] == ["row 1.mp4"]


def test_clip_that_is_gone_from_its_server_is_saved_anew(server: ComfyUI, tmp_path: Path) -> None:
    rows = [{"name": "gone", "speech": "Hi.", "seed": 30}]
    table, out = write_table(tmp_path / "table.csv", rows), tmp_path / "clips"
    assert main(command(table, out, server.url)) == 0
    for path in [*(server.base_directory / "output").rglob("gone_*.mp4"), out / "gone.mp4"]:
        path.unlink()
    assert main(command(table, out, server.url)) == 0
    assert report(out)["gone"]["tries"] == "2"
    assert (out / "gone.mp4").exists()


def test_clip_has_its_name_only_once_it_is_whole(server: ComfyUI, tmp_path: Path) -> None:
    large, target = server.base_directory / "output" / "large.mp4", tmp_path / "clip.mp4"
    with large.open("wb") as file:
        file.truncate(1 << 28)
    place = {"filename": large.name, "subfolder": "", "type": "output"}

    async def cut_in_the_middle(line: ShakyLine) -> None:
        async with aiohttp.ClientSession() as session:
            fetching = asyncio.create_task(Server(session, line.url).fetch(place, target))
            while not list(tmp_path.iterdir()):
                await asyncio.sleep(0.001)
            line.cut()
            with pytest.raises(ServerLostError):
                await fetching
            assert not target.exists()
            line.mend()
            await Server(session, line.url).fetch(place, target)

    with shaky_line(server.port) as line:
        asyncio.run(cut_in_the_middle(line))
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("clip.mp4", 1 << 28)]
    large.unlink()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_interruption_cancels_what_was_queued_and_the_same_command_goes_on(
    server: ComfyUI, tmp_path: Path, sent: signal.Signals
) -> None:
    rows = [{"name": f"row {number}", "speech": "Hi.", "seed": 40 + number} for number in range(3)]
    table, out = write_table(tmp_path / "table.csv", rows), tmp_path / "clips"
    arguments = [*command(table, out, server.url), "--set", "UniTalkingJointSampler.steps=40"]
    process = started(arguments)
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("[1/3]"):
            assert queued(server) >= 1
            process.send_signal(sent)
    assert process.wait() == 130
    assert "Interrupted; what was queued is cancelled.\n" in said
    assert "The same command goes on." in said[-1]
    while queued(server):
        time.sleep(0.1)
    statuses = [job["status"] for job in server.get("/api/jobs")["jobs"]]
    assert sorted(statuses) == ["cancelled", "completed"]
    left = [name for name, line in report(out).items() if line["status"] == "left"]
    assert len(left) == 2
    assert main(arguments) == 0
    assert {line["status"] for line in report(out).values()} == {"done"}
    assert len(list(out.glob("*.mp4"))) == 3


def test_wrong_table_queues_nothing(server: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "table.csv", [{"speech": "Hi."}, {"speech": ""}, {"speech": "Hi."}])
    assert main(command(table, tmp_path / "clips", server.url)) == 2
    assert "row 4, column name" in capsys.readouterr().err
    assert server.get("/history") == {}
    assert not (tmp_path / "clips").exists()


def test_workflow_that_a_server_cannot_run_queues_nothing(
    server: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "table.csv", [{"name": "one", "speech": "Hi."}])
    assert main([*command(table, tmp_path, server.url), "--set", "UniTalkingJointSampler.pace=1"]) == 1
    said = capsys.readouterr().err
    assert f"{server.url} cannot be used (one: UniTalkingJointSampler (node 7) has no widget 'pace'; it has " in said
    assert server.get("/history") == {}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "it answers 404 File not found"),
        ("<html>", "what answers is no ComfyUI"),
        ("{}", "one: UniTalkingJointSampler (node 7): this ComfyUI has no such node type. Is its pack installed?"),
        ("real", "expected ComfyUI 0.30.0 or newer"),
    ],
    ids=["nothing there", "a page", "no pack", "too old to cancel"],
)
def test_server_that_cannot_be_used_says_why(
    server: ComfyUI, tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str | None, reason: str
) -> None:
    if answer is not None:
        text = json.dumps(server.object_info()) if answer == "real" else answer
        (tmp_path / "object_info").write_text(text, encoding="utf-8")
    table = write_table(tmp_path / "table.csv", [{"name": "one", "speech": "Hi."}])
    files = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), files) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        assert main(command(table, tmp_path, f"http://127.0.0.1:{other.server_port}")) == 1
        other.shutdown()
    assert f"http://127.0.0.1:{other.server_port} cannot be used (" in (said := capsys.readouterr().err)
    assert reason in said


def test_no_server_at_all_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "table.csv", [{"name": "one", "speech": "Hi."}])
    assert main(command(table, tmp_path, "http://127.0.0.1:9")) == 1
    assert "No server can be used, nothing is queued:\n  http://127.0.0.1:9 does not answer" in capsys.readouterr().err
    assert report(tmp_path)["one"]["status"] == "left"
