"""Does for a sweep that has come home from another machine what one of this machine does at its end."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from sweeproute.pointers import Pointer

# In the sweep's own folder here: which report is wanted, as the command here has said it. No machine may rewrite it.
FILE = "report_wanted.json"
_REPORT = "sweeproute.callbacks.Report"


def keep(pointer: "Pointer", config: "DictConfig") -> None:
    """Keep which report a sweep is to have, and the request that it answers.

    Args:
        pointer: The sweep.
        config: Its config, as it was composed here.
    """
    from omegaconf import OmegaConf

    from sweeproute.sweep_folder import own

    for callback in (config.hydra.get("callbacks") or {}).values():
        if callback.get("_target_") != _REPORT:
            continue
        request = callback.get("request")
        kept = {
            "settings": OmegaConf.to_container(callback.settings, resolve=True),
            "request": None if request is None else _text(Path(str(request)).expanduser()),
        }
        path = own(pointer.folder, FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}~")
        beside.write_text(json.dumps(kept), encoding="utf-8")
        beside.replace(path)


def forget(folder: Path) -> None:
    """Remove what was kept of a sweep that never began."""
    from sweeproute.sweep_folder import own

    own(folder, FILE).unlink(missing_ok=True)


def enter_holdout(pointer: "Pointer") -> None:
    """Enter what a sweep has scored over there into the record of here, and say so."""
    from sweeproute.holdout_home import merge

    entered = merge(pointer.folder)
    if entered:
        models = ", ".join(dict.fromkeys(str(one["model"]) for one in entered))
        first, last = entered[0]["seasons"]
        print(f"Scored over there on seasons {first} to {last}, and from now on known here: {models}.")


def make_report(pointer: "Pointer", uri: str | None, *, changed: bool) -> bool:
    """Make the report of a sweep that has ended over there, where one is wanted and there is none of this yet.

    Args:
        pointer: The sweep; all of it is here, and as far as the store took it there.
        uri: The tracking store; None for the sweep's own.
        changed: Whether something has come home that a report made before does not have.

    Returns:
        False where it was not made, though it was to be.
    """
    from sweeproute import report_record, sweep_end
    from sweeproute.sweep_folder import own
    from sweeproute.tracking_status import saved_settings

    try:
        kept: Any = json.loads(own(pointer.folder, FILE).read_bytes())
    except (OSError, ValueError):
        return True
    sweep_end.keep_request(pointer.folder, kept.get("request"))
    if not sweep_end.wanted(kept["settings"]) or (report_record.made(pointer.folder) and not changed):
        return True
    store = saved_settings(pointer.folder, uri)
    if store is None:
        return True
    return sweep_end.make_report(
        pointer.folder, kept["settings"], store.uri, pointer.argv[2:], lambda line: print(line, flush=True), pointer.cwd
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
