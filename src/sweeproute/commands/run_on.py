"""Starts a sweep whose coordinator runs on a far machine, so that this one may be shut."""

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hydra_plugins.sweeproute.config import PlatformConf
    from submitit_ssh.staging import Code, Staged
    from sweeproute.commands.composing import Sweep
    from sweeproute.pointers import Pointer
    from sweeproute.tracking_status import Settings

_TRACKING = "sweeproute.callbacks.Tracking"
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
# What a command over there is not given, by the beginning of the word, and why.
_REFUSED = {
    "resume": "`sweeproute resume SWEEP` goes on with a sweep over there",
    "hydra.sweeper.resume": "`sweeproute resume SWEEP` goes on with a sweep over there",
    "hydra.launcher.dry_run": "a plan is made here: leave out `sweeproute run --on ... --`",
    "hydra.launcher.plan": "a plan is run from here: `sweeproute run PLAN`",
    "hydra.launcher.debug": "a debugger stops in a process of this machine",
    "hydra.launcher.here": "it is what --on says",
}


class RunOnError(LookupError):
    """A sweep cannot be started on a far machine."""


def run_on(platform: str, app: str, words: Sequence[str]) -> None:
    """Start a sweep there, once it is clear that it can run.

    Args:
        platform: The machine's name in the registry.
        app: The script, in the working directory or below.
        words: What would follow the script on the command line.

    Raises:
        RunOnError: It cannot be started there.
        Exception: What the app raised when it was asked whether the sweep may begin, such as a HoldoutError.
    """
    from hydra_plugins.sweeproute._far_sweep import RefusedThereError
    from submitit_ssh.errors import SubmititSshError
    from sweeproute import code_snapshot, pointers
    from sweeproute.commands import coming_home, composing, elsewhere, hardware
    from sweeproute.commands.check import note

    overrides = _overrides(words)
    script = Path(app).absolute()
    sweep = composing.sweep(script, overrides)
    entry = hardware.far_platform(platform, sweep.registry)
    identifier = _identifier(sweep.config)
    _admit(sweep, platform, identifier)
    try:
        pointer, contents = _send(platform, entry, script, overrides, sweep, identifier)
    except SubmititSshError as error:
        raise RunOnError(f"{platform}: {error}") from None
    assert pointer.on is not None
    _save_tracking(pointer, _tracking(sweep.config, script))
    coming_home.keep(pointer, sweep.config)
    # Over there is no repository that could tell what this tree has beside its commit.
    code_snapshot.keep(pointer.folder, script.parent, [str(name) for name in sweep.config.get("code") or ()])
    if told := code_snapshot.problem(pointer.folder):
        note(told)
    pointers.save(pointer)
    try:
        with elsewhere.channel(pointer, elsewhere.WORK_S) as far:
            answer = elsewhere.start(pointer, far, pointer.on.words, again=False, **contents)
    except RefusedThereError as error:
        pointers.remove(pointer)
        _forget(pointer.folder)
        raise RunOnError(f"{platform}: {error}") from None
    except SubmititSshError as error:
        raise RunOnError(
            f"{platform}: {error} Whether {identifier} has started there is not known; "
            f"`sweeproute status {identifier}` tells once it answers."
        ) from None
    if not answer["has"] and answer["code"] is not None:
        pointers.remove(pointer)
        _forget(pointer.folder)
        raise RunOnError(f"{_said(answer)}\nThat is what it said on {platform}, where nothing runs now.")
    elsewhere.saw(pointer, living=answer["code"] is None)
    print(f"{identifier} runs on {platform}, as process {answer['pid']} there; this machine may be shut.")
    print(f"`sweeproute status {identifier}` looks at it, `sweeproute sync {identifier}` brings home what there is.")


def _overrides(words: Sequence[str]) -> list[str]:
    overrides = [word for word in words if word not in ("-m", "--multirun")]
    for word in overrides:
        if word.startswith("-"):
            raise RunOnError(f"{word!r} is not taken here. Behind `--` stand -m and Hydra's overrides.")
        why = _REFUSED.get(word.lstrip("+").partition("=")[0])
        if why is not None:
            raise RunOnError(f"{word!r} is not taken here: {why}.")
    return overrides


def _identifier(config: "DictConfig") -> str:
    from sweeproute import pointers

    sweeper = str(config.hydra.sweeper.get("_target_"))
    if not sweeper.endswith("SearchSweeper"):
        raise RunOnError(
            f"The sweeper here is {sweeper}, which keeps no record to follow. Choose hydra/sweeper=search."
        )
    identifier = str(config.hydra.sweeper.get("id") or time.strftime("sweep_%Y%m%d_%H%M%S"))
    if not _ID.match(identifier):
        raise RunOnError(f"The sweep's id is {identifier!r}. Over there it takes letters, digits, dots, - and _.")
    if any(pointer.id == identifier for pointer in pointers.pointers()):
        raise RunOnError(f"There is a sweep {identifier} already. Choose another id, or leave it out.")
    return identifier


def _admit(sweep: "Sweep", platform: str, identifier: str) -> None:
    """Ask the app here as the coordinator over there will: what was scored here is on no record of that machine."""
    from hydra_plugins.sweeproute._hooks import hook

    ask = hook("admit", sweep.settings.admit)
    if ask is not None:
        for config in sweep.trials:
            ask(config, sweep.rule | {"sweep": identifier, "resumed": False, "on": platform})


def _send(
    platform: str, entry: "PlatformConf", script: Path, overrides: list[str], sweep: "Sweep", identifier: str
) -> "tuple[Pointer, dict[str, Any]]":
    """Bring code and data there, and say what a coordinator needs of them.

    Returns:
        The pointer to the sweep; what is laid out before it starts.
    """
    from hydra_plugins.sweeproute._code import origin
    from hydra_plugins.sweeproute._errand import Errand
    from hydra_plugins.sweeproute._far_sweep import FarSweep
    from hydra_plugins.sweeproute._reach import reach_of
    from hydra_plugins.sweeproute._records import cache_dir
    from hydra_plugins.sweeproute._shipping import PACKAGES
    from submitit_ssh.staging import Code
    from sweeproute.commands.check import note
    from sweeproute.pointers import Elsewhere, Pointer

    reach, cache = reach_of(platform, entry), cache_dir() / "staging"
    with FarSweep(reach, identifier) as far:
        there = far.ask("look", python=entry.python)
    _check(platform, entry, there, identifier)
    code = Code.collect(Path.cwd(), PACKAGES, cache=cache)
    note(f"{identifier} is brought to {platform}, with {code.files} files of code.")
    if code.left_out:
        named = "; ".join(f"{path} ({why})" for path, why in code.left_out[:3])
        more = f" and {len(code.left_out) - 3} more" if len(code.left_out) > 3 else ""
        note(f"{platform} does not get {named}{more}.")
    root, home = "", str(there["home"])
    far_script = code.far_path(script, root)
    cwd = _in_tree(code.cwd(root), code)
    if far_script is None:
        raise RunOnError(f"{script} does not travel: it is not among the files of the project in {Path.cwd()}.")
    data = _Data.find(sweep, overrides, code, cwd, home, cache)
    words = _words(sweep, data.overrides, platform, identifier, home)
    with Errand(platform, reach, note) as errand:
        errand.machine.stage([code.staged(), *data.contents]).result()
    on = Elsewhere(
        platform=platform,
        host=reach.host,
        ssh_config=reach.ssh_config,
        serves=reach.python,
        python=str(there["python"]),
        root=reach.root,
        folder=home,
        words=(os.path.relpath(_in_tree(far_script, code) or ".", cwd or "."), "-m", *words),
        cwd=cwd,
        path=tuple(_in_tree(path, code) for path in code.sys_path(root)),
        variables=origin(),
        copied=tuple(str(name) for name in sweep.config.hydra.job.env_copy),
        files=data.names,
    )
    folder = Path(sweep.config.hydra.sweep.dir).absolute()
    argv = (os.path.relpath(script), "-m", *overrides)
    pointer = Pointer(identifier, _name(sweep.config), folder, argv, Path.cwd(), sys.executable, time.time(), on)
    return pointer, {"tree": code.sha, "files": [[one.sha, name] for one, name in data.laid]}


def _check(platform: str, entry: "PlatformConf", there: Any, identifier: str) -> None:
    """Refuse a machine on which the coordinator could not start."""
    from hydra_plugins.sweeproute._far import versions
    from sweeproute.commands.check import note

    python = there["python"]
    if not there["there"]:
        step = (
            f"`sweeproute setup {platform}` makes one"
            if entry.python is None
            else f"correct registry.platforms.{platform}.python"
        )
        raise RunOnError(f"{platform} has no Python environment at {python}: {step}.")
    if there["error"]:
        raise RunOnError(f"The Python of {platform}, {python}, does not start: {there['error']}.")
    if "hydra-core" not in there["versions"]:
        raise RunOnError(
            f"{python} on {platform} has no hydra-core: `sweeproute setup {platform}` makes an environment."
        )
    differing = [
        f"{name} {there['versions'].get(name, 'missing')} there, {version} here"
        for name, version in versions().items()
        if there["versions"].get(name) != version
    ]
    if differing:
        note(
            f"The Python of {platform} differs ({'; '.join(differing)}); `sweeproute setup {platform}` makes one alike."
        )
    if there["taken"]:
        raise RunOnError(f"{platform} has a sweep {identifier} already. Choose another id, or leave it out.")


@dataclass(frozen=True)
class _Data:
    """The data files that a sweep's config names, on their way."""

    contents: "list[Staged]"
    # Each content with its path below the sweep's home there.
    laid: "list[tuple[Staged, str]]"
    # The sweep's overrides with the paths of over there.
    overrides: list[str]
    # Those paths, and what they are called here.
    names: dict[str, str]

    @classmethod
    def find(cls, sweep: "Sweep", overrides: Sequence[str], code: "Code", cwd: str, home: str, cache: Path) -> "_Data":
        """Find the files that `hydra.launcher.files` leads to, in the config and in the overrides.

        One that is named relative to the working directory lies there as it does here, and keeps its name.
        """
        from omegaconf import OmegaConf

        from hydra_plugins.sweeproute._far_coordinator import CODE
        from submitit_ssh.staging import file

        contents: dict[str, Staged] = {}
        laid, names, words = [], {}, list(overrides)
        for key in map(str, sweep.settings.files):
            mine = [n for n, word in enumerate(words) if word.lstrip("+").partition("=")[0] == key]
            named = [value for n in mine for value in _values(words[n])]
            if not mine:
                named = [OmegaConf.select(sweep.config, key, throw_on_missing=False)]
            for name in dict.fromkeys(str(value) for value in named if value):
                path = Path(name).expanduser()
                if not path.is_file() or (not path.is_absolute() and code.far_path(path.absolute(), "") is not None):
                    continue
                one = file(path, cache)
                contents[one.sha] = one
                inside = os.path.normpath(f"{cwd or '.'}/{name}")
                if not Path(name).is_absolute() and name[0] != "~" and not inside.startswith(".."):
                    laid.append((one, f"{CODE}/{inside}"))
                    continue
                place = f"data/{one.sha[:16]}/{re.sub('[^A-Za-z0-9._-]', '_', path.name)}"
                laid.append((one, place))
                names[f"{home}/{place}"] = name
                for n in mine:
                    words[n] = words[n].replace(name, f"{home}/{place}")
                if not mine:
                    words.append(f"{key}='{home}/{place}'")
        return cls(list(contents.values()), laid, words, names)


def _values(word: str) -> list[str]:
    """The values that an override names, one or several."""
    from hydra_plugins.sweeproute._compose import parse

    override = parse(word)
    if override.is_choice_sweep():
        return [str(value) for value in override.sweep_string_iterator()]
    return [] if override.is_sweep_override() or override.value() is None else [str(override.value())]


def _words(sweep: "Sweep", overrides: Sequence[str], platform: str, identifier: str, home: str) -> list[str]:
    """The overrides of the command over there."""
    from hydra_plugins.sweeproute._far_coordinator import SWEEP

    config = sweep.config
    settled = {
        _followed(config.hydra.sweeper, "id") or "hydra.sweeper.id": identifier,
        "hydra.sweep.dir": f"{home}/{SWEEP}",
        "hydra.launcher.here": platform,
    }
    for name, callback in (config.hydra.get("callbacks") or {}).items():
        if callback.get("_target_") == _TRACKING:
            # The store of the sweep is here; over there it has one of its own, and never the password of another.
            store = f"sqlite:///{home}/mlflow.db"
            settled[_followed(callback, "uri") or f"hydra.callbacks.{name}.uri"] = store
    begins = [sweep.begins] if sweep.begins is not None else []
    ours = {*settled, *(word.partition("=")[0] for word in begins)}
    kept = [word for word in overrides if word.lstrip("+").partition("=")[0] not in ours]
    return [*kept, *(f"{key}={_quoted(value)}" for key, value in settled.items()), *begins]


def _quoted(value: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return str(QuotedString(value, Quote.single).with_quotes())


def _followed(node: "DictConfig", setting: str) -> str | None:
    """The key of the app's config that a setting of Hydra's follows; None where it follows none."""
    found: Any = node._get_node(setting)
    follows = re.fullmatch(r"\$\{([\w.]+)\}", str(found._value())) if found is not None else None
    return follows[1] if follows else None


def _tracking(config: "DictConfig", script: Path) -> "Settings":
    """Where the runs of the sweep go, once they come home."""
    from sweeproute.store import DEFAULT_URI, absolute
    from sweeproute.tracking_status import Settings

    for callback in (config.hydra.get("callbacks") or {}).values():
        if callback.get("_target_") == _TRACKING:
            uri, more = str(callback.uri), {k: str(callback[k]) for k in ("experiment", "models") if k in callback}
            return Settings(absolute(uri), script=os.path.relpath(script), **more)
    return Settings(absolute(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI), script=os.path.relpath(script))


def _save_tracking(pointer: "Pointer", settings: "Settings") -> None:
    from sweeproute.tracking_status import Status, save

    save(pointer.folder, settings, Status())


def _name(config: "DictConfig") -> str | None:
    name = config.hydra.sweeper.get("name")
    return None if name is None else str(name)


def _in_tree(there: str, code: "Code") -> str:
    """A path in the staged tree, relative to its top."""
    top = f"/trees/{code.sha}"
    return there.removeprefix(top).removeprefix("/")


def _forget(folder: Path) -> None:
    """Remove what was noted here of a sweep that never began."""
    from contextlib import suppress

    from sweeproute import code_snapshot
    from sweeproute.commands import coming_home
    from sweeproute.sweep_folder import own
    from sweeproute.tracking_status import FILE

    coming_home.forget(folder)
    for path in (own(folder, FILE), own(folder, code_snapshot.TOO_LARGE), *code_snapshot.kept(folder)):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        own(folder, "").rmdir()
        folder.rmdir()


def _said(answer: Any) -> str:
    return str(bytes(answer["payload"]).decode(errors="replace")).strip() or f"It ended with code {answer['code']}."
