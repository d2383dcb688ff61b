"""What the far side's tests have it run: the entry of an environment, with a job for each thing that can happen."""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

loaded: Any = None
counter = 0


def load(what: Any) -> None:
    """Make the environment; some cannot be made."""
    global loaded
    loaded = what
    if what == "raise":
        raise ImportError("no module named nowhere")
    if what == "exit":
        sys.exit(3)
    if what == "die":
        print("about to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(what, dict) and "cuda" in what:
        map_library(what["cuda"])


def map_library(path: str) -> None:
    """Map a file as the CUDA library would be."""
    global library
    Path(path).write_bytes(b"\0" * 4096)
    with Path(path).open("rb") as file:
        library = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)


def run(argument: dict[str, Any], folder: str) -> str:
    """Do what the argument names, once it has said that it was executed."""
    descriptor = os.open(argument["runs"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{os.environ['SWEEPROUTE_FAR_JOB']}\n".encode())
    os.close(descriptor)
    result = globals()[f"do_{argument['do']}"](argument, Path(folder))
    return json.dumps(result, ensure_ascii=argument["do"] != "large")


def do_nothing(argument: dict[str, Any], folder: Path) -> Any:
    return argument.get("value")


def do_wait(argument: dict[str, Any], folder: Path) -> Any:
    """Say through one fifo that it runs, and wait for another."""
    told(argument, "running")
    with Path(argument["until"]).open() as fifo:
        return fifo.readline().strip()


def told(argument: dict[str, Any], text: str) -> None:
    if "tell" in argument:
        with Path(argument["tell"]).open("w") as fifo:
            fifo.write(f"{text}\n")


def do_raise(argument: dict[str, Any], folder: Path) -> Any:
    raise RuntimeError("as asked")


def do_kill(argument: dict[str, Any], folder: Path) -> Any:
    os.kill(os.getpid(), argument.get("signal", signal.SIGKILL))
    time.sleep(60)


def do_exit(argument: dict[str, Any], folder: Path) -> Any:
    os._exit(argument["code"])


def do_leak(argument: dict[str, Any], folder: Path) -> Any:
    """Change all that a process can change, and tell what was there before."""
    global counter
    before = {
        "counter": counter,
        "cwd": str(Path.cwd()),
        "variable": os.environ.get("LEAK"),
        "path": "leak" in sys.path,
    }
    counter += 1
    os.chdir("/")
    os.environ["LEAK"] = "yes"
    sys.path.append("leak")
    return before


def named(handler: Any) -> str:
    return handler.name if isinstance(handler, signal.Handlers) else handler.__name__


def do_signals(argument: dict[str, Any], folder: Path) -> Any:
    """What a process finds of signals."""
    names = ("SIGINT", "SIGTERM", "SIGCHLD", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGHUP")
    return {
        "handlers": {name: named(signal.getsignal(getattr(signal, name))) for name in names},
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": signal.set_wakeup_fd(-1),
        "session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "stdin": str(Path("/proc/self/fd/0").readlink()),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "order": os.environ.get("CUDA_DEVICE_ORDER"),
        "loaded": loaded,
    }


def do_locks(argument: dict[str, Any], folder: Path) -> Any:
    """Which locks this process holds open, and a program that it starts."""
    code = "import os; print(*(os.readlink(entry.path) for entry in os.scandir('/proc/self/fd') if entry.name != '3'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, close_fds=False)
    own = [str(entry.resolve()) for entry in Path("/proc/self/fd").iterdir()]
    return {"own": [path for path in own if path.endswith(".lock")], "theirs": ".lock" in told.stdout}


def do_family(argument: dict[str, Any], folder: Path) -> Any:
    """Start a child that ignores SIGTERM, and a grandchild in a session of its own; say their numbers; wait."""
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    one = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
    two = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True)
    forked = os.fork()
    if forked == 0:
        os.setsid()
        time.sleep(600)
        os._exit(0)
    for process in (one, two):
        assert process.stdout is not None
        process.stdout.readline()
    told(argument, f"{os.getpid()} {one.pid} {two.pid} {forked}")
    if argument.get("return"):
        return None
    time.sleep(600)
    return None


def do_grow(argument: dict[str, Any], folder: Path) -> Any:
    """Take memory, and keep it."""
    held = bytearray(argument["bytes"])
    for at in range(0, len(held), 4096):
        held[at] = 1
    told(argument, "grown")
    time.sleep(600)
    return len(held)


def do_grow_apart(argument: dict[str, Any], folder: Path) -> Any:
    """Have a child take it."""
    if os.fork() == 0:
        do_grow({"bytes": argument["bytes"]}, folder)
    time.sleep(600)


def do_write(argument: dict[str, Any], folder: Path) -> Any:
    """Leave files of all kinds."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "small.txt").write_text("small")
    (folder / "empty").touch()
    (folder / "large.bin").write_bytes(bytes(range(256)) * (argument.get("bytes", 0) // 256))
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "out-of-it").symlink_to("/")
    os.mkfifo(folder / "fifo")
    print("printed")
    print("complained", file=sys.stderr)
    return sorted(path.name for path in folder.iterdir())


def do_journal(argument: dict[str, Any], folder: Path) -> Any:
    """Write a line of a journal for each line that comes."""
    told(argument, "running")
    with Path(argument["until"]).open() as fifo, (folder / "journal.jsonl").open("a") as journal:
        while (line := fifo.readline()) != "end\n":
            journal.write(line)
            journal.flush()
    return None


def do_keep(argument: dict[str, Any], folder: Path) -> Any:
    """For each line that comes put a file in place: its path, a letter, and how often; or remove one, or print."""
    told(argument, "running")
    with Path(argument["until"]).open() as fifo:
        while (words := fifo.readline().split()) != ["end"]:
            if words[0] == "say":
                print(words[1], flush=True)
                continue
            path = folder / words[0]
            if words[1:] == ["gone"]:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                beside = path.with_name(f"{path.name}~")
                beside.write_bytes(words[1].encode() * int(words[2]))
                if not words[3:]:
                    beside.replace(path)
            told(argument, "done")
    return None


def do_linger(argument: dict[str, Any], folder: Path) -> Any:
    """Return, and stay: the process ends only when what it prints to lets it."""

    class Slow:
        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            told(argument, "returned")
            with Path(argument["until"]).open() as fifo:
                fifo.readline()

    sys.stdout = Slow()  # type: ignore[assignment]
    return "returned"


def do_inputs(argument: dict[str, Any], folder: Path) -> Any:
    return {name: (folder / name).read_text() for name in argument["names"]}


def do_result(argument: dict[str, Any], folder: Path) -> Any:
    return "x" * argument["bytes"]


def do_listen(argument: dict[str, Any], folder: Path) -> Any:
    told(argument, "running")
    while not (folder / "stop").exists():
        time.sleep(0.01)
    return (folder / "stop").read_text()


def do_catch(argument: dict[str, Any], folder: Path) -> Any:
    """Wait for a signal."""
    caught: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: caught.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    told(argument, "ready")
    signal.sigwait([signal.SIGUSR2])
    return "caught"


def do_yield(argument: dict[str, Any], folder: Path) -> Any:
    """Return when asked to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    told(argument, "ready")
    signal.sigwait([signal.SIGTERM])
    return "saved"


def do_large(argument: dict[str, Any], folder: Path) -> Any:
    """Leave much, in text that grows when it is sent."""
    (folder / "many").mkdir()
    for number in range(600):
        (folder / "many" / str(number)).touch()
    return "\u00e9" * argument["bytes"]
