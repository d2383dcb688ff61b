"""What wakes a thread, and wakes nobody once it is closed."""

import os
import selectors

from submitit_ssh.waker import Waker


def test_who_waits_is_woken_once_for_many_calls():
    waker = Waker()
    with selectors.DefaultSelector() as selector:
        selector.register(waker, selectors.EVENT_READ)
        assert not selector.select(0)
        for _ in range(100_000):  # more than a pipe holds
            waker.wake()
        assert selector.select(0)
        while selector.select(0):
            waker.clear()
    waker.close()


def test_one_that_is_closed_writes_into_no_file_that_has_its_number_now(tmp_path):
    waker = Waker()
    numbers = {waker._woken, waker._waker}
    waker.close()
    files = [(tmp_path / str(number)).open("wb") for number in range(20)]
    assert numbers & {file.fileno() for file in files}
    waker.wake()
    for file in files:
        assert os.fstat(file.fileno()).st_size == 0
        file.close()
