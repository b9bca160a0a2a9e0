"""Which server makes which row."""

from __future__ import annotations

from unitalking.batch.schedule import AHEAD, Job, Schedule
from unitalking.batch.table import Row


def schedule(rows: int, *servers: str, retries: int = 2) -> Schedule:
    made = Schedule([Row(f"row {number}", "Hello.") for number in range(rows)], retries)
    made.live.update(servers)
    return made


def names(jobs: list[Job]) -> list[str]:
    return [job.row.name for job in jobs]


def test_server_holds_a_few_rows_at_once() -> None:
    made = schedule(20, "a", "b")
    taken = [made.take("a") for _ in range(5)]
    assert [job is not None for job in taken] == [True] * AHEAD + [False] * (5 - AHEAD)
    made.finish(taken[0])
    assert made.take("a").row.name == "row 2"
    assert names(made.held_by("a")) == ["row 1", "row 2"]


def test_servers_share_the_rows_each_once() -> None:
    made, order = schedule(6, "a", "b"), []
    while made.is_open:
        for server in ("a", "b"):
            while job := made.take(server):
                order.append((server, job.row.name))
        for server in ("a", "b"):
            made.finish(made.held_by(server)[0])
    assert sorted(name for _, name in order) == [f"row {number}" for number in range(6)]
    assert [server for server, _ in order].count("a") == 3
    assert {job.status for job in made.jobs} == {"done"}


def test_rows_of_a_lost_server_come_before_the_others_and_only_the_oldest_counts_as_failed() -> None:
    made = schedule(4, "a", "b")
    first, second = made.take("a"), made.take("a")
    assert made.lose("a", "gone") == [first, second]
    assert (first.failed_on, second.failed_on, made.live) == (["a"], [], {"b"})
    assert (first.error, made.is_waiting(first), made.held_by("a")) == ("gone", True, [])
    assert [made.take("b"), made.take("b").row.name] == [second, "row 2"]
    assert second.tries == 2


def test_row_that_fails_goes_to_another_server() -> None:
    made = schedule(1, "a", "b")
    job = made.take("a")
    made.fail(job, "bad")
    assert made.take("a") is None
    assert made.take("b") is job


def test_row_that_failed_on_every_live_server_is_tried_there_again() -> None:
    made = schedule(1, "a", "b")
    made.fail(made.take("a"), "bad")
    made.lose("b", "gone")
    assert made.take("a") is made.jobs[0]


def test_row_is_given_up_after_its_retries() -> None:
    made = schedule(2, "a", retries=1)
    job = made.take("a")
    made.fail(job, "bad")
    assert (job.status, made.is_waiting(job)) == ("left", True)
    made.finish(made.take("a"))
    made.fail(made.take("a"), "still bad")
    assert (job.status, job.error, job.tries, job.failed_on) == ("failed", "still bad", 2, ["a", "a"])
    assert not made.is_waiting(job)
    assert not made.is_open


def test_row_that_ends_its_servers_is_given_up() -> None:
    made = schedule(1, "a", retries=2)
    for _ in range(3):
        made.live.add("a")
        made.take("a")
        made.lose("a", "gone")
    assert (made.jobs[0].status, made.jobs[0].error) == ("failed", "gone")


def test_finished_row_keeps_no_error() -> None:
    made = schedule(1, "a")
    made.fail(made.take("a"), "bad")
    job = made.take("a")
    made.finish(job)
    assert (job.status, job.error, job.server, job.tries) == ("done", "", "a", 2)
