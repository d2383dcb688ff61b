"""Says what makes two trials the same: a hash of the config that counts, the data, the code and the seed."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf

from sweeproute.config import WHERE_AND_HOW

# Their values differ from run to run or from machine to machine: they count by their text.
_VOLATILE = re.compile(r"\$\{(now|hydra|oc\.env|env)[:.]")
_REFERENCE = re.compile(r"\$\{(?:oc\.select:)?([^${}:,]+)[},]")
# Keys of a data source that say where its content lies; the content has a hash of its own.
_DATA_PLACES = ("path", "url", "sha256")
# Of a model: what tells only how its fits are shared, and where they can run; its own code is hashed with the rest.
_MODEL_SHARING = ("prefix", "devices", "code")
# Of an ensemble: where its members lie; what they are has fingerprints of its own.
_MEMBERS_PLACES = ("sweep", "members")
# What code is written in.
_SOURCES = (".py", ".R")
# This project's own code is hashed; on a machine to which it was brought it has no version.
_LIBRARIES = ("numpy", "pandas", "scikit-learn", "xgboost", "lightgbm", "torch")


def settled_config(cfg: DictConfig) -> dict[str, Any]:
    """The config with its interpolations resolved, but for those that reach the clock, Hydra, the environment or a key
    that says where and how a trial runs: these stay as text.

    Args:
        cfg: A trial's config.

    Returns:
        A plain mapping, fit for JSON.
    """
    plain = _plain(cfg)
    assert isinstance(plain, dict)
    return plain


def _plain(node: Any) -> Any:
    if isinstance(node, DictConfig):
        return {str(key): _child(node, key) for key in node}
    if isinstance(node, ListConfig):
        return [_child(node, index) for index in range(len(node))]
    return node


def _child(parent: DictConfig | ListConfig, key: Any) -> Any:
    node = parent._get_node(key)
    if not isinstance(node, Node) or not node._is_interpolation():
        return _plain(None if OmegaConf.is_missing(parent, key) else parent[key])
    return node._value() if _reaches_outside(node) else _plain(parent[key])


def _reaches_outside(node: Node, depth: int = 10) -> bool:
    """Whether an interpolation leads, by whatever way, to something that is not the trial's own."""
    text, parent = node._value(), node._get_parent()
    if _VOLATILE.search(text):
        return True
    assert isinstance(parent, DictConfig | ListConfig)
    for key in _REFERENCE.findall(text):
        holder, key = parent._resolve_key_and_root(key)
        path, _, leaf = key.rpartition(".")
        holder = OmegaConf.select(holder, path) if path else holder
        target = holder._get_node(leaf) if isinstance(holder, DictConfig) and leaf in holder else None
        if not isinstance(target, Node):
            continue
        if target._get_full_key(None).split(".")[0] in WHERE_AND_HOW:
            return True
        if depth and target._is_interpolation() and _reaches_outside(target, depth - 1):
            return True
    return False


def hashes(
    cfg: DictConfig,
    data_hash: str,
    app: Path | None = None,
    settled: Mapping[str, Any] | None = None,
    made_from: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Hash what makes a trial what it is.

    Args:
        cfg: The trial's config.
        data_hash: Hash of the data set's content.
        app: Folder of the app, where the files that `code` names are; the working directory when None.
        settled: What `settled_config` gives of the config, where somebody has it already.
        made_from: Of an ensemble what its members are; None for a model that is made from the data alone.

    Returns:
        fingerprint, data_hash and code_hash, 64 hexadecimal digits each.
    """
    settled = settled_config(cfg) if settled is None else settled
    counted = {key: value for key, value in settled.items() if key not in WHERE_AND_HOW}
    counted["data"] = {key: value for key, value in counted["data"].items() if key not in _DATA_PLACES}
    counted["model"] = {key: value for key, value in counted["model"].items() if key not in _MODEL_SHARING}
    code = code_hash((*cfg.code, *cfg.model.get("code", ())), app or Path())
    parts = [counted, data_hash, code, cfg.seed]
    if made_from is not None:
        params = counted["model"]["params"]
        counted["model"] |= {"params": {key: params[key] for key in params if key not in _MEMBERS_PLACES}}
        parts.append(made_from)
    text = json.dumps(parts, sort_keys=True)
    return {"fingerprint": _sha256(text.encode()), "data_hash": data_hash, "code_hash": code}


@functools.lru_cache(maxsize=8)
def code_hash(names: Sequence[str], app: Path = Path()) -> str:
    """Hash the code that a trial can depend on.

    Args:
        names: Files relative to the app's folder, or modules and packages by their dotted name.
        app: The app's folder.

    Returns:
        64 hexadecimal digits; a name that does not exist here counts as absent.
    """
    digest = hashlib.sha256()
    for name in names:
        for relative, path in _sources(name, app):
            digest.update(f"{name}:{relative}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def code_files(names: Sequence[str], app: Path) -> list[Path]:
    """The files that `code_hash` reads.

    Args:
        names: As of `code_hash`.
        app: The app's folder.

    Returns:
        Their paths, each once.
    """
    return list(dict.fromkeys(path for name in names for _, path in _sources(name, app)))


def _sources(name: str, app: Path) -> Iterator[tuple[str, Path]]:
    if name.endswith(".py"):
        path = app / name
        if path.is_file():
            yield path.name, path
        return
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        # Not even the package that it would be in.
        return
    if spec is None:
        return
    if spec.submodule_search_locations:
        for folder in map(Path, spec.submodule_search_locations):
            sources = (p for p in sorted(folder.rglob("*")) if p.suffix in _SOURCES)
            yield from ((p.relative_to(folder).as_posix(), p) for p in sources)
    elif spec.has_location and spec.origin:
        yield Path(spec.origin).name, Path(spec.origin)


@functools.lru_cache(maxsize=8)
def git_state(app: Path = Path()) -> dict[str, str]:
    """The commit of the app's folder, and whether any tracked file differs from it; empty outside a repository.

    On a machine to which the code was brought without its repository, the environment says what its origin was.
    """

    def ask(*words: str) -> str:
        answer = subprocess.run(["git", "-C", str(app), *words], capture_output=True, text=True, check=True, timeout=10)
        return answer.stdout.strip()

    try:
        commit = ask("rev-parse", "HEAD")
        dirty = bool(ask("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        if "SWEEPROUTE_GIT_COMMIT" not in os.environ:
            return {}
        return {
            "git_commit": os.environ["SWEEPROUTE_GIT_COMMIT"],
            "git_dirty": os.environ.get("SWEEPROUTE_GIT_DIRTY", "false"),
        }
    return {"git_commit": commit, "git_dirty": str(dirty).lower()}


@functools.lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device_class(device: str, threads: int | None, outside: Mapping[str, str] | None = None) -> str:
    """What has to agree for two results to be bitwise equal, beside the fingerprint.

    Args:
        device: cpu, or cuda with the GPU's model.
        threads: Threads of the job.
        outside: Versions of what the model needs outside Python, such as R; None for nothing.

    Returns:
        Device, machine, BLAS kernel, threads and versions, as text.
    """
    import threadpoolctl

    # Pools without a kernel of their own, such as OpenMP's, come and go with what a warm worker has imported.
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool.get("architecture")]
    kernels = {f"{pool['internal_api']}-{pool['architecture']}" for pool in pools}
    versions = ",".join(f"{name}={version}" for name, version in (library_versions() | dict(outside or {})).items())
    return f"{device};{platform.machine()};{'+'.join(sorted(kernels))};threads={threads};{versions}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
