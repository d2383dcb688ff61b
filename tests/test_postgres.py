"""The registry on a real PostgreSQL: what is written, found and refused there is what it is on SQLite."""

import math
import subprocess
import sys
from collections.abc import Iterator

import pytest

import postgres
from handmade_sweep import HandmadeSweep, fresh_store
from sweeproute.registry import best, chosen, frame
from sweeproute.runs_where import RegistryError
from sweeproute.store import StoreError, connect
from sweeproute.tracking import sync

START = "import sys; from sweeproute.store import open_store; print(open_store(sys.argv[1], 'chapter 4').experiment_id)"


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    postgres.or_skip()
    with postgres.server() as address:
        yield address


@pytest.fixture(scope="module")
def stores(uri: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same sweep in PostgreSQL and in SQLite."""
    root = tmp_path_factory.mktemp("postgres")
    local = fresh_store(root)
    sweep = HandmadeSweep(root / "sweep", "sweep_depths", metric="auc")
    for job, (auc, brier) in enumerate([(0.6, 0.24), (0.7, 0.2), (0.7, 0.21), (math.nan, 0.1), (math.inf, 0.3)]):
        sweep.run(job, auc=auc, brier=brier)
    sweep.change(sweep.run(5, auc=0.9, brier=0.1), state="FAILED")
    for store in (uri, local):
        assert sync(sweep.root, uri=store, experiment="chapter 4").written == 6
        assert sync(sweep.root, uri=store, experiment="chapter 4").written == 6
    return uri, local


def test_several_that_begin_at_once_make_its_tables_once(uri: str) -> None:
    command = [sys.executable, "-c", START, uri]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [(*one.communicate(timeout=120), one.returncode) for one in started]
    assert [code for *_, code in ended] == [0, 0, 0], "\n".join(errors for _, errors, _ in ended)
    assert len({said for said, *_ in ended}) == 1


@pytest.mark.parametrize("metric", ["auc", "brier"])
def test_the_best_is_the_same_one(stores: tuple[str, str], metric: str) -> None:
    there, here = (best("sweep_depths", metric, uri=store) for store in stores)
    assert (there.job, there.value, there.not_finite) == (here.job, here.value, here.not_finite)
    assert there.overrides == here.overrides
    assert "MLflow's search" in there.how
    assert "read-only" in here.how


def test_a_kind_is_found_and_one_that_is_not_there_is_refused(stores: tuple[str, str]) -> None:
    for store in stores:
        assert best("sweep_depths", uri=store, where={"data_hash": "abab", "model.params.p3": "3"}).job == 1
        with pytest.raises(RegistryError, match="has seed=7"):
            chosen("sweep_depths", uri=store, where={"seed": "7"})


def test_every_run_is_there_once_with_every_value(stores: tuple[str, str]) -> None:
    drop = ["run_id", "end_time", "tags.mlflow.parentRunId"]
    there, here = (frame("sweep_depths", uri=store).drop(columns=drop) for store in stores)
    assert list(there.columns) == list(here.columns)
    assert there.astype(str).to_dict() == here.astype(str).to_dict()


def test_a_driver_that_is_not_installed_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymysql", None)
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(StoreError, match=r"^mysql://\*\*\*@host/db needs \w+, .*: pip install 'pymysql'\.$"):
        connect("mysql://me:geheim@host/db")


def test_its_address_is_said_without_its_password(uri: str) -> None:
    secret = uri.replace("sweeproute@", "sweeproute:geheim@")
    with pytest.raises(RegistryError) as raised:
        best(uri=secret, experiment="none")
    assert "geheim" not in str(raised.value)
