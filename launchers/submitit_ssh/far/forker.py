"""A warm parent: loads an environment once, then forks a process for each job."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from . import job_folder
from .frames import Decoder, encode
from .processes import JOB_VARIABLE, boot_id, open_files, read, start_time

# Exit codes of a job's process that has run no user code: somebody else has the job, or its files cannot be made.
NOT_MINE = 75
NO_FILES = 76
# A job's process that could not keep what the job returned.
NO_RESULT = 77
# In the folder of a job whose `run` has returned None: the process which asks that the job be queued once more.
AGAIN = "again"
_REHEARSALS = 20
_MADV_COLLAPSE = 25
_HUGE_PAGE = 1 << 21
# Seconds that may go into making forks cheap.
_HUGE_PAGES_S = 1.0
# Characters of a message, and of a traceback, that are told.
_TEXT = 20_000
# What a job gets as a process finds it that somebody has started by hand.
_DEFAULTS: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    **dict.fromkeys(
        (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2), signal.SIG_DFL
    ),
}


def main(descriptor: int, environment: str) -> None:
    """Load an environment, say how that went, and run jobs until the supervisor hangs up.

    Args:
        descriptor: The socket to the supervisor.
        environment: Path of the file that describes what to load.
    """
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    try:
        module = _load(json.loads(Path(environment).read_text(encoding="utf-8")))
    except BaseException as error:  # also an import that calls exit
        channel.sendall(encode({"op": "failed", "message": explain(error)}))
        return
    with contextlib.suppress(OSError):
        # Where memory runs out these go before the supervisor, and the job that has grown before its parent.
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
    touched = cuda_touched()
    _rehearse(Path(f"{environment}.{os.getpid()}~"))
    # Pages that the collector does not write to stay shared with every job.
    gc.collect()
    gc.freeze()
    _use_huge_pages()
    sys.stdout.flush()
    sys.stderr.flush()
    channel.sendall(encode({"op": "ready", "touched": touched}))
    Forker(channel, module).run()


def explain(error: BaseException) -> str:
    """An error as text: type and message first, then the traceback."""
    name = type(error).__qualname__
    head = f"{name}: {error}" if str(error) else name
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return f"{head[:_TEXT]}\n{trace[-_TEXT:]}"


def cuda_touched() -> str:
    """What of this process shows that it has used CUDA, which does not survive a fork; empty where nothing does."""
    for line in read("/proc/self/maps").splitlines():
        name = line.rpartition(b"/")[2]
        if name.startswith(b"libcuda.so"):
            return name.decode(errors="replace")
    devices = [str(path) for path in open_files(os.getpid()) if str(path).startswith("/dev/nvidia")]
    return devices[0] if devices else ""


def _load(environment: dict[str, Any]) -> Any:
    os.chdir(Path(environment["cwd"]).expanduser())
    sys.path[:0] = [str(Path(entry).expanduser()) for entry in environment["path"]]
    module = importlib.import_module(environment["entry"])
    module.load(environment["load"])
    return module


class Forker:
    """Forks on demand, and says what starts and what ends.

    Args:
        channel: The socket to the supervisor.
        module: What has been loaded; its `run(argument, folder)` is a job.
    """

    def __init__(self, channel: socket.socket, module: Any) -> None:
        self._channel = channel
        self._module = module
        self._jobs: dict[int, str] = {}
        self._decoder = Decoder()
        self._locks: list[int] = []
        self._changed: list[signal.Signals] = []
        self._woken, self._waker = os.pipe()
        for end in (self._woken, self._waker):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Serve until the supervisor hangs up; the jobs go on without."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        # Looked at once: each look costs as much as the rest of a job's start. Modules may have set some too.
        self._changed = [number for number, usual in _DEFAULTS.items() if signal.getsignal(number) != usual]
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._woken in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                    self._reap()
                if self._channel.fileno() in ready and not self._receive():
                    os._exit(0)

    def _receive(self) -> bool:
        # Descriptors come with the first byte of the message that they belong to, and in its order.
        data, locks, _, _ = socket.recv_fds(self._channel, 65536, 32)
        for lock in locks:
            os.set_inheritable(lock, False)  # a program that a job starts and leaves must not hold the slot
        self._locks += locks
        for header, _ in self._decoder.feed(data):
            lock = self._locks.pop(0)
            if header["here"]:
                self._become({**header, "started": time.time(), "began": time.monotonic()})
            else:
                self._fork(header)
            os.close(lock)
        return bool(data)

    def _fork(self, header: dict[str, Any]) -> None:
        now = {"started": time.time(), "began": time.monotonic()}
        try:
            pid = os.fork()
        except OSError as error:
            self._channel.sendall(encode({"op": "unforked", "id": header["id"], "message": str(error)}))
            return
        if pid == 0:
            try:
                os.setsid()
                self._become({**header, **now})
            finally:
                os._exit(1)
        self._jobs[pid] = header["id"]
        self._channel.sendall(encode({"op": "started", "id": header["id"], "pid": pid, **now}))

    def _become(self, header: dict[str, Any]) -> None:
        """Be the job's process; the slot's lock stays open in it until it ends."""
        signal.set_wakeup_fd(-1)
        for number in self._changed:
            signal.signal(number, _DEFAULTS[number])
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for end in (self._woken, self._waker):
            os.close(end)
        self._channel.close()
        code = 1
        try:
            code = _run(self._module, header)
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self._jobs):
            # Only seen, not yet reaped: its number cannot be given to another process, so the group is its own.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            code, number = exit_of(status)
            self._channel.sendall(encode({"op": "ended", "id": self._jobs.pop(pid), "code": code, "signal": number}))


def exit_of(status: int) -> tuple[int | None, int | None]:
    """Exit code or signal of a status as `waitpid` gives it."""
    return (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)


def _run(module: Any, header: dict[str, Any]) -> int:
    """Claim a job, run it and keep what it returns.

    Args:
        module: Whose `run` is the job.
        header: The message that started it.

    Returns:
        The exit code of this process.
    """
    folder, began = header["folder"], header["began"]
    out = f"{folder}/out"
    try:
        if not job_folder.claim(folder, _this_run(header["slot"], header["gpus"], header["started"], began)):
            return NOT_MINE
        task = job_folder.read_task(folder)
        console = os.open(f"{out}/console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.close(console)
        for path, sha in task["inputs"].items():
            target = Path(out, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(header["store"]) / sha, f"{target}~")
        # All or none of them: what is in a folder that is kept is looked at meanwhile.
        for path in task["inputs"]:
            Path(out, f"{path}~").rename(Path(out, path))
    except OSError as error:
        job_folder.put_failure(folder, "precheck", f"the job's files cannot be made: {explain(error)}")
        return NO_FILES
    os.environ[JOB_VARIABLE] = header["id"]
    if header["gpus"]:
        # In the order in which nvidia-smi counts, which is not CUDA's own.
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, header["gpus"]))
    try:
        text = module.run(task["argument"], out)
        if text is None:
            job_folder.write(f"{folder}/{AGAIN}", f"{os.getpid()} {start_time(os.getpid())}\n")
            return 0
        json.loads(text)
    except BaseException as error:  # also exit: the entry is to return
        job_folder.put_failure(folder, "killed", f"the job's entry raised {explain(error)}")
        traceback.print_exc()
        return 1
    try:
        job_folder.put_result(folder, text, time.monotonic() - began, time.time())
    except OSError as error:
        job_folder.put_failure(folder, "precheck", f"the job's result cannot be kept: {explain(error)}")
        return NO_RESULT
    return 0


def _this_run(slot: int, gpus: list[int], started: float, began: float) -> job_folder.Run:
    pid = os.getpid()
    return job_folder.Run(pid, start_time(pid) or 0, boot_id(), slot, gpus, started, began)


def _use_huge_pages() -> None:
    """Have the kernel gather this process's memory into large pages, of which a fork has few to copy.

    With torch, XGBoost and scikit-learn loaded a fork and its end take 8 ms instead of 20. Kernels before 6.1 refuse.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError, ValueError):
        import ctypes  # not every Python has it

        libc = ctypes.CDLL(None)
        until = time.monotonic() + _HUGE_PAGES_S
        for line in read("/proc/self/maps").decode().splitlines():
            place, rights, _, _, inode, *name = line.split(maxsplit=5)
            if "w" not in rights or inode != "0" or (name and name[0] != "[heap]"):
                continue
            low, high = (int(end, 16) for end in place.split("-"))
            for at in range(-(-low // _HUGE_PAGE) * _HUGE_PAGE, high - _HUGE_PAGE + 1, _HUGE_PAGE):
                if time.monotonic() > until:
                    return
                libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(_HUGE_PAGE), _MADV_COLLAPSE)


def _rehearse(folder: Path) -> None:
    """Do often what every job's process does around its job: what is warm here need not be made in each of them."""
    with contextlib.suppress(OSError):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        (folder / "spec.json").write_text('{}\n{"argument": null, "inputs": {}}\n', encoding="utf-8")
        for _ in range(_REHEARSALS):
            (folder / "run.json").unlink(missing_ok=True)
            job_folder.claim(folder, _this_run(0, [], time.time(), time.monotonic()))
            json.loads(json.dumps(job_folder.read_task(folder)))
            job_folder.put_result(folder, "null", 0.0, time.time())
        shutil.rmtree(folder, ignore_errors=True)
