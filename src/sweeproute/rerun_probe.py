"""Says what trials would be here and now, without running them.

It is run by its path, in a process of its own, with the code in question before all other: an older version of this
project, perhaps, of which it uses as little as it can. What it is asked comes on standard input, the answer goes into
the file that it is given.
"""

import json
import sys
from pathlib import Path
from typing import Any


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    import hydra
    from omegaconf import OmegaConf

    import sweeproute.config  # noqa: F401  (registers the schema)

    script = Path(asked["script"])
    # Where Python finds the app's own modules when the script is started.
    sys.path.insert(0, str(script.parent))
    found: dict[str, Any] = {"jobs": [], "lists": False, "callbacks": []}
    with hydra.initialize_config_dir(str(script.parent / "conf"), job_name=script.stem, version_base="1.3"):
        for overrides in asked["jobs"]:
            try:
                config = hydra.compose("config", overrides, return_hydra_config=True)
                callbacks = config.hydra.get("callbacks") or {}
                found["callbacks"] = [
                    str(name)
                    for name, one in callbacks.items()
                    if str(one.get("_target_")).startswith("sweeproute.callbacks.")
                ]
                target = str(OmegaConf.select(config, "hydra.launcher._target_"))
                ours = target.startswith("hydra_plugins.sweeproute.") and "jobs" in config.hydra.sweeper
                found["lists"] = ours
                found["jobs"].append(_trial(config))
            except Exception as error:  # whatever it is, it is for who asks to tell
                found["jobs"].append({"error": _told(error)})
    return found


def _trial(config: Any) -> dict[str, Any]:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from sweeproute.experiment import identity
    from sweeproute.fingerprint import settled_config

    HydraConfig.instance().set_config(config)
    cfg = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return {"config": settled_config(cfg), **identity(cfg)}


def _told(error: Exception) -> str:
    from sweeproute.errors import explain

    return " ".join((explain(error) or f"{type(error).__name__}: {error}").split())


if __name__ == "__main__":
    answer = _answer(json.load(sys.stdin))
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")
