"""What passes between the dispatcher and the backends: an answer is taken for one only where it is whole."""

import pytest

from hydra_plugins.sweeproute._backend import is_answer

ERROR = {"class": "user", "type": "ValueError", "message": "unlucky", "traceback": ""}


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "COMPLETED", "value": None, "unfit": "", "run_s": 0.5, "identity": {}},
        {"status": "FAILED", "error": ERROR, "run_s": 1},
    ],
)
def test_an_answer_is_taken(answer):
    assert is_answer(answer)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "COMPLETED",
        {"status": "COMPLETED"},
        {"status": "COMPLETED", "value": 1.0, "unfit": "", "run_s": "long"},
        {"status": "PERHAPS", "error": ERROR, "run_s": 1},
        {"status": "FAILED", "error": "unlucky", "run_s": 1},
        {"status": "FAILED", "error": ERROR | {"class": "luck"}, "run_s": 1},
        {"status": "FAILED", "error": {"class": "user"}, "run_s": 1},
    ],
)
def test_what_another_machine_made_up_is_not(answer):
    assert not is_answer(answer)
