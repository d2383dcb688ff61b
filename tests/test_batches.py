"""Frames are filled with jobs by number or by bytes, whichever comes first."""

from submitit_ssh.batches import Batches, too_large, travelling
from submitit_ssh.far.frames import encode


def test_small_jobs_go_in_order_and_by_number():
    batches = Batches()
    for number in range(100):
        batches.add(str(number), 100)
    assert batches.take() == [str(number) for number in range(64)]
    assert batches.take() == [str(number) for number in range(64, 100)]
    assert not batches


def test_large_jobs_go_by_bytes_and_one_alone_however_large():
    batches = Batches()
    for name, size in (("a", 10_000), ("b", 20_000), ("c", 10_000), ("d", 500_000), ("e", 1)):
        batches.add(name, size)
    assert [batches.take() for _ in range(4)] == [["a", "b"], ["c"], ["d"], ["e"]]


def test_what_is_dropped_is_not_sent():
    batches = Batches()
    for name in "abc":
        batches.add(name, 1)
    batches.drop(["b", "never there"])
    assert batches.take() == ["a", "c"]


def test_what_is_not_too_large_fits_into_a_frame():
    spec = {"id": "f" * 32, "argument": "\u00e9" * 600_000}
    header = {"op": "submit", "n": 10**9, "jobs": [spec]}
    assert travelling(spec) < len(encode(header)) < travelling(spec) + 100
    largest = {"argument": "x" * ((4 << 20) - 1024 - travelling({"argument": ""}))}
    assert too_large(travelling(largest)) is None
    encode({**header, "jobs": [largest]})
    assert "4.2 MB are allowed" in too_large(travelling(largest) + 1)
