"""What was staged goes when nobody needs it, for its age or for its size, and never what somebody needs."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from far_side import FarSide, Near, living
from test_far_store import member, put, sha_of, tar_of

DAY_S = 86400.0
MB = 1_000_000


@pytest.fixture
def far(tmp_path: Path) -> Iterator[FarSide]:
    yield from living(tmp_path)


class Disk:
    """What lies staged on a far side, put there by an owner who has gone since."""

    def __init__(self, far: FarSide) -> None:
        self.far = far
        self._near = far.near("stager")

    def file(self, days: float, size: int = MB) -> str:
        data = os.urandom(size)
        assert put(self._near, data)["op"] == "stored"
        return self.used("store", sha_of(data), days)

    def tree(self, days: float, size: int = MB) -> str:
        data = tar_of((member("deep/one"), os.urandom(size)), (member("two"), b"two"))
        assert put(self._near, data, "trees")["op"] == "stored"
        return self.used("trees", sha_of(data), days)

    def used(self, kind: str, sha: str, days: float) -> str:
        """Let it be so long since its last use."""
        age(self.far.root / kind / sha, days)
        return sha

    def cleaner(self) -> Near:
        """A connection that has asked for nothing, once the stager's is gone."""
        # The later of two connections of one owner ends the earlier.
        return self.far.near("stager")

    def names(self) -> set[str]:
        return {path.name for kind in ("store", "trees") for path in (self.far.root / kind).glob("[!~]" * 64)}


@pytest.fixture
def disk(far: FarSide) -> Disk:
    return Disk(far)


def age(path: Path, days: float) -> None:
    at = time.time() - days * DAY_S
    os.utime(path, (at, at))


def clean(near: Near, days: float = 30, **fields: Any) -> dict[str, Any]:
    """The answer to a cleaning, without what every answer has."""
    wish = {"unused_s": days * DAY_S, "limit_gb": None, "jobs": False, "dry": False, **fields}
    answer = near.ask("clean", **wish)
    assert answer.pop("op") == "cleaned", answer
    return {name: value for name, value in answer.items() if name not in ("re", "raw")}


def counts(contents: int = 0, size: int = 0, jobs: int = 0, job_bytes: int = 0) -> dict[str, int]:
    return {"contents": contents, "content_bytes": size, "jobs": jobs, "job_bytes": job_bytes}


def paused(far: FarSide, owner: str = "me") -> Near:
    """A connection to a machine on which nothing starts."""
    near = far.near(owner)
    near.ask("slots", slots=1, paused=True)
    return near


def test_what_nobody_has_used_for_long_goes_and_the_rest_stays(disk: Disk) -> None:
    disk.file(31)
    disk.tree(40)
    kept = {disk.file(29), disk.tree(29)}
    near = disk.cleaner()
    assert clean(near) == counts(2, 2 * MB + 3)
    assert disk.names() == kept
    near.until(lambda _: not list(disk.far.root.glob("*/*~")))
    assert clean(near) == counts()
    assert not (disk.far.root / "cleaning.json").exists()


def test_beyond_the_limit_the_longest_unused_goes_first(disk: Disk) -> None:
    disk.tree(5)
    disk.file(4)
    kept = {disk.file(3), disk.file(0)}
    near = disk.cleaner()
    assert clean(near, limit_gb=0.0039) == counts(1, MB + 3)
    assert clean(near, limit_gb=0.003) == counts()
    assert clean(near, limit_gb=0.0029) == counts(1, MB)
    assert disk.names() == kept


def test_what_was_used_within_a_day_stays_though_there_is_too_much_of_it(disk: Disk) -> None:
    kept = {disk.file(0.9), disk.tree(0)}
    disk.file(1.1)
    assert clean(disk.cleaner(), limit_gb=0.0) == counts(1, MB)
    assert disk.names() == kept


def test_whoever_asks_for_content_has_used_it(disk: Disk) -> None:
    file, tree, gone = disk.file(40), disk.tree(40), disk.file(40)
    assert disk.cleaner().ask("missing", store=[file], trees=[tree])["store"] == []
    assert clean(disk.cleaner()) == counts(1, MB)
    assert disk.names() == {file, tree}
    near = disk.cleaner()
    assert near.ask("missing", store=[gone], trees=[])["store"] == [gone]


def test_what_an_open_connection_has_asked_for_stays_whatever_its_age(disk: Disk) -> None:
    asked, staged = disk.file(1), os.urandom(7)
    other, near = disk.far.near("other"), disk.cleaner()
    other.ask("missing", store=[asked], trees=[])
    put(other, staged)
    disk.used("store", asked, 99)
    disk.used("store", sha_of(staged), 99)
    assert clean(near, limit_gb=0.0) == counts()
    assert disk.names() == {asked, sha_of(staged)}


@pytest.mark.parametrize("state", ["queued", "running", "ended"])
def test_what_a_job_that_is_kept_needs_stays(disk: Disk, state: str) -> None:
    far = disk.far
    lies, named, tree = disk.file(99), disk.file(99), disk.tree(99)
    disk.file(99)
    job = far.waiting(inputs={"in": lies})
    job.spec["argument"]["reads"] = f"{far.root}/store/{named}"
    job.spec["environment"]["path"].append(f"{far.root}/trees/{tree}/deep")
    near = paused(far) if state == "queued" else far.near()
    near.submit(job.spec)
    if state != "queued":
        job.runs()
    if state == "ended":
        job.end()
        near.ended(job.id)
    (environment,) = (far.root / "environments").glob("*.json")
    age(environment, 2)  # else that would be enough
    cleaner = disk.cleaner()
    assert clean(cleaner, days=0, limit_gb=0.0) == counts(1, MB)
    assert disk.names() == {lies, named, tree}
    if state == "running":
        job.end()
        near.ended(job.id)
    near.ask("settle", ids=[job.id])
    assert clean(cleaner) == counts(3, 3 * MB + 3)
    assert not list((far.root / "environments").iterdir())


def test_what_an_environment_of_today_needs_stays_after_its_jobs(disk: Disk) -> None:
    far = disk.far
    tree = disk.tree(99)
    near = paused(far)
    first = far.spec()
    first["environment"]["path"].append(f"{far.root}/trees/{tree}")
    near.submit(first)
    near.ask("settle", ids=[first["id"]])
    (described,) = (far.root / "environments").glob("*.json")
    age(described, 2)
    # A job that comes into it is a use of it.
    second = {**first, "id": "0" * 32}
    near.submit(second)
    near.ask("settle", ids=[second["id"]])
    cleaner = disk.cleaner()
    assert clean(cleaner) == counts()
    age(described, 2)
    assert clean(cleaner) == counts(1, MB + 3)
    assert not described.exists()
    # It is described anew for whoever comes again.
    near.submit({**first, "id": "1" * 32})
    assert described.exists()


def test_what_is_asked_for_or_needed_while_somebody_looks_stays(disk: Disk) -> None:
    far = disk.far
    asked, lies, tree = disk.file(99), disk.file(99), disk.tree(99)
    near = paused(far)
    spec = far.spec(inputs={"in": lies})
    spec["environment"]["path"].append(f"{far.root}/trees/{tree}")
    disk.cleaner()
    n = near.send("clean", unused_s=0, limit_gb=0, jobs=False, dry=False)
    near.submit(spec)
    near.ask("missing", store=[asked], trees=[])
    assert near.wait(lambda header: header.get("re") == n)["contents"] == 0
    assert disk.names() == {asked, lies, tree}


def test_a_dry_run_says_the_same_and_removes_nothing(disk: Disk) -> None:
    far = disk.far
    disk.file(31)
    disk.tree(2)
    near = far.near()
    spec = far.spec()
    near.submit(spec)
    near.ended(spec["id"])
    near.close()
    cleaner = disk.cleaner()
    cleaner.until(lambda _: clean(cleaner, days=0, jobs=True, dry=True)["jobs"] == 1)
    before = disk.names()
    said = clean(cleaner, days=0, limit_gb=0.0, jobs=True, dry=True)
    assert (said["contents"], said["content_bytes"], said["jobs"]) == (2, 2 * MB + 3, 1)
    assert said["job_bytes"] > 0
    assert disk.names() == before
    assert cleaner.states() == {spec["id"]: "ended"}
    assert clean(cleaner, days=0, limit_gb=0.0, jobs=True) == said
    assert (disk.names(), cleaner.states()) == (set(), {})


def test_ended_jobs_that_nobody_fetches_go_with_what_they_need(disk: Disk) -> None:
    far = disk.far
    lies = disk.file(99)
    near = far.near()
    spec, running = far.spec("write", bytes=100_000, inputs={"in": lies}), far.waiting()
    near.submit(spec)
    near.ended(spec["id"])
    near.submit(running.spec)
    running.runs()
    cleaner = disk.cleaner()
    for kept in (
        {"days": 0, "jobs": True},  # its owner is there
        {"days": 1, "jobs": True},
        {"days": 0},
    ):
        assert clean(cleaner, **kept) == counts()
    near.close()
    (environment,) = (far.root / "environments").glob("*.json")
    age(environment, 2)
    cleaner.until(lambda _: clean(cleaner, days=0, jobs=True, dry=True)["jobs"] == 1)
    assert clean(cleaner, days=1, jobs=True) == counts()
    said = clean(cleaner, days=0, jobs=True)
    assert (said["contents"], said["jobs"]) == (1, 1)
    assert said["job_bytes"] > 100_000
    assert cleaner.states() == {running.id: "running"}
    assert not (far.root / "jobs" / spec["id"]).exists()
    # To whoever comes back for it, it has been dealt with.
    assert far.near().ask("adopt", jobs={spec["id"]: {}})["states"] == {spec["id"]: "settled"}


def test_several_may_clean_at_once(disk: Disk) -> None:
    disk.file(31)
    near = disk.cleaner()
    asked = [near.send("clean", unused_s=30 * DAY_S, limit_gb=None, jobs=False, dry=False) for _ in range(3)]
    answers = [near.wait(lambda header, n=n: header.get("re") == n) for n in asked]  # type: ignore[misc]
    assert [answer["contents"] for answer in answers] == [1, 0, 0]


@pytest.mark.parametrize(
    "wrong", [{"unused_s": None}, {"unused_s": -1}, {"limit_gb": "much"}, {"limit_gb": -1}], ids=str
)
def test_a_wish_that_is_none_is_refused_and_the_next_is_served(disk: Disk, wrong: dict[str, Any]) -> None:
    near = disk.cleaner()
    assert "was not understood" in near.ask("clean", **{"unused_s": 0, "limit_gb": None, **wrong})["message"]
    assert clean(near) == counts()


def test_where_nobody_can_look_it_is_said(disk: Disk) -> None:
    near = disk.cleaner()
    (disk.far.root / "cleaning.json").mkdir()
    assert "nobody can look what may go" in near.ask("clean", unused_s=0, limit_gb=None)["message"]
    (disk.far.root / "cleaning.json").rmdir()
    assert clean(near) == counts()
