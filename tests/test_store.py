"""Tests of opening the tracking store."""

import doctest
import subprocess
import sys

import pytest

from handmade_sweep import fresh_store
from sweeproute import store
from sweeproute.store import StoreError, absolute, masked, open_store, sqlite_path


def test_processes_that_start_at_once_on_a_fresh_file_all_open_it(tmp_path):
    code = (
        "import sys; from sweeproute.store import open_store; sys.stdin.readline()\n"
        "import mlflow.tracking; print(open_store(sys.argv[1], 'test').experiment_id)"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120) for process in processes]
    assert [answer[0] for answer in answers] == ["1\n"] * 4, answers


def test_artifacts_have_an_absolute_place_beside_the_database(tmp_path, monkeypatch):
    fresh_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    opened = open_store(absolute("sqlite:///mlflow.db"), "chapter 4")
    place = opened.client.get_experiment(opened.experiment_id).artifact_location
    assert place == (tmp_path / "mlartifacts" / "chapter_4").as_uri()


def test_an_experiment_that_was_deleted_is_not_written_to(tmp_path):
    uri = fresh_store(tmp_path)
    opened = open_store(uri, "old")
    opened.client.delete_experiment(opened.experiment_id)
    with pytest.raises(StoreError, match=r"'old' was deleted .* tracking\.experiment=NAME"):
        open_store(uri, "old")


def test_the_experiment_of_a_run_that_exists_is_taken(tmp_path):
    uri = fresh_store(tmp_path)
    opened = open_store(uri, "first")
    made = opened.client.create_run(opened.experiment_id)
    assert open_store(uri, "second", made.info.run_id).experiment == "first"


@pytest.mark.parametrize(
    "uri", ["http://host:5000", "postgresql://host/db", "databricks", "sqlite:////data/mlflow.db", "file:///data"]
)
def test_only_a_relative_sqlite_path_is_made_absolute(uri):
    assert absolute(uri, "/somewhere") == uri


def test_a_sqlite_file_is_recognised():
    assert str(sqlite_path("sqlite:////data/a%20b.db")) == "/data/a b.db"
    assert sqlite_path("http://host") is None


@pytest.mark.parametrize("text", ["a @ b", "mail me@example.org", "http://host/a@b", "sqlite:///a.db"])
def test_what_holds_no_password_is_left_as_it_is(text):
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pa/ss@host/db", "postgresql://***@host/db"),
        (
            "postgresql://host/db?user=me&password=pass;word&sslmode=require",
            "postgresql://host/db?user=me&password=***&sslmode=require",
        ),
        ("mssql://host/db?odbc_connect=PWD%3Dsecret", "mssql://host/db?odbc_connect=***"),
        ("from https://me:one@a.org to http://you:two@b.org", "from https://***@a.org to http://***@b.org"),
    ],
)
def test_a_secret_is_left_out_wherever_an_address_may_have_one(text, shown):
    assert masked(text) == shown


def test_the_examples_run():
    assert doctest.testmod(store).failed == 0
