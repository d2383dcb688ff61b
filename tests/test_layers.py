"""Holds the order in which modules may import each other."""

import ast
import fnmatch
import functools
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SIDES = {
    "sweeproute": ROOT / "src",
    "hydra_plugins.sweeproute": ROOT / "launchers",
    "submitit_ssh": ROOT / "launchers",
    "submitit_ssh.far": ROOT / "launchers",
}

# From top to bottom: a module imports from its own line and from those below. A folder stands for all of its modules.
LAYERS = {
    "sweeproute": [
        ["__main__", "project"],
        # MLflow's project backend is a command line of its own.
        ["commands", "mlflow_backend", "project_coordinator", "project_platforms"],
        [
            "experiment",
            "further",
            "prediction",
            "promotion",
            "callbacks",
            "summary",
            "cleaning",
            "request",
            "report",
            "final_report",
            "sweep_end",
            "project_home",
            "reproduce",
            # Run by its path beside another version of the code.
            "rerun_probe",
        ],
        ["rerun_code"],
        ["rerun_words", "rerun", "recorded"],
        ["trial_checks"],
        ["ensemble_report"],
        ["trial_journal", "holdout*", "chapter_figures", "completion"],
        ["deliverables"],
        ["chapter"],
        ["chapter_parts"],
        ["comparison"],
        ["comparable"],
        ["execution", "request_kept"],
        ["sweep_runs"],
        ["project_command"],
        ["sqlite_layout", "tracking*", "replay", "registry", "store*", "runs*", "mlflow_*", "*_facts", "data_input"],
        ["figures"],
        ["figure_*"],
        ["plot*", "baselines", "subsets", "verdicts"],
        ["project_settings"],
        ["evaluation", "errors"],
        ["importance", "measures"],
        ["capabilities", "stakes", "system_metrics", "project_folder"],
        ["data", "estimators", "models"],
        ["targets", "performance", "score_text", "significance"],
        ["ensemble_members"],
        ["ensemble"],
        ["winners"],
        ["history"],
        ["progress", "report_record"],
        ["bankroll", "code_worktree"],
        ["code_snapshot"],
        ["validation", "scores", "betting", "calibration", "checkpoint", "fingerprint", "sweep_folder"],
        ["ensemble_methods", "finished_fold"],
        ["choice", "configuration"],
        ["trial_steps"],
        ["run_difference"],
        ["journal", "pointers", "selection", "pareto", "pruning", "shared_fit", "latex", "whole_folder"],
        ["config", "tables", "learning_curve", "sealed_files"],
        ["report_config"],
    ],
    "hydra_plugins.sweeproute": [
        ["sweeper"],
        ["_search"],
        ["_walk", "_adaptive"],
        ["_follow_up"],
        ["_kept", "_earlier"],
        ["launcher"],
        ["_route", "_plan*", "_estimates", "_check", "_setup", "_leftovers"],
        ["_jobs"],
        ["_dispatcher", "_simulator", "_classes"],
        ["_overview", "_reports"],
        ["_alarm"],
        ["_book", "_conditions", "_errand", "_findings"],
        ["_joblib", "_ssh", "_slurm", "_platforms", "_live", "_source", "_proposals"],
        ["_sampler_thread"],
        ["_share"],
        ["_scheduler", "_backend"],
        ["_stragglers"],
        ["_attempts", "_outlook", "_placement"],
        ["_board"],
        ["_policy", "_occupancy", "_retry", "_assignment", "_slurm_queue"],
        ["_admission", "_durations", "_condition"],
        ["_shipping", "_far", "_far_check", "_far_setup", "_far_sweep", "_far_keeper", "_slurm_job", "_followers"],
        ["_hooks"],
        ["_worker"],
        ["_starting_points"],
        ["_study", "_study_log", "_samplers", "_pruners", "_options", "_point", "_untried", "_widening"],
        ["_quick_tpe", "_kept_memory"],
        [
            "_compose",
            "_objective",
            "_dimension",
            "_constraint",
            "_axis",
            "_space",
            "_spaces",
            "_grid",
            "_prefix",
            "_files",
            "_values",
            "_returns",
            "_job_log",
            "_references",
            "_code",
            "_platform_log",
            "_named_files",
        ],
        [
            "_pending",
            "_pruning",
            "_shared_fit",
            "_console",
            "_machines",
            "_reservation",
            "_threads",
            "_reach",
            "_far_files",
            "_notify",
            "_handoff",
            "_interrupt",
            "_awake",
            "_deadline",
        ],
        ["_records"],
        ["config"],
        ["_errors", "_hydra_versions", "_columns", "_clock", "_far_coordinator"],
    ],
    # It would stand as a package of its own: it knows neither Hydra nor the rest of this project.
    "submitit_ssh": [
        ["executor"],
        ["job"],
        ["connections"],
        ["job_files"],
        ["machine"],
        ["uploads"],
        ["requests", "listener"],
        ["line", "batches"],
        ["ssh", "ears", "waker", "staging", "outputs", "parameters"],
        ["boot", "project_files", "environment"],
        ["far_submitit"],
        ["content_cache"],
        ["errors"],
        ["far"],
    ],
    # What is sent to the far machine: the standard library alone.
    "submitit_ssh.far": [
        ["relay", "supervisor"],
        ["requests"],
        ["cleaning"],
        ["jobs"],
        ["connection", "parents", "admission", "endings", "stopping", "limits", "slots", "waiting"],
        ["forker", "gpus", "store"],
        ["job_folder", "out_files", "records", "resources"],
        ["survey", "aside"],
        ["frames", "loop", "processes", "specs"],
    ],
}
# Packages that give, from their name alone, what stands on top of them.
FRONT_DOORS = {"submitit_ssh"}
# The only modules that know both sides: the command line's, and MLflow's project backend.
SEE_BOTH = [
    *("sweeproute.__main__", "sweeproute.commands.*"),
    *("sweeproute.mlflow_backend", "sweeproute.project_platforms", "sweeproute.project_coordinator"),
]
# Who alone may import a library, by room of src/sweeproute; nothing in launchers may import any of these.
ONLY_IN = {
    "mlflow": [
        "tracking*",
        "replay",
        "registry",
        "store*",
        "runs*",
        "data_input",
        "sweep_runs",
        "recorded",
        "comparison",
        "mlflow_*",
        "promotion",
    ],
    "matplotlib": ["plot*", "figure_*"],
    # The loader of a promoted model travels without the rest.
    "torch": ["models", "promotion"],
    "safetensors": ["models", "promotion"],
    "stable_baselines3": ["models"],
    "gymnasium": ["models"],
    "xgboost": ["models", "estimators", "promotion"],
    "lightgbm": ["models", "estimators", "promotion"],
}
# What stands below the data knows arrays and tables at most; the configuration knows Hydra alone.
BELOW_DATA = {
    "filelock",
    "hydra",
    "numpy",
    "omegaconf",
    "pandas",
    "platformdirs",
    "scipy",
    "sklearn",
    "threadpoolctl",
    "yaml",
}
CONFIG = {"hydra", "omegaconf"}
# The policy is the same under a virtual clock: it reads neither clock, nor file, nor process.
PURE = [
    *("_policy", "_admission", "_occupancy", "_retry", "_scheduler", "_simulator"),
    *("_assignment", "_attempts", "_board", "_condition", "_outlook", "_placement", "_stragglers"),
]
IMPURE = {"datetime", "io", "multiprocessing", "os", "pathlib", "shutil", "socket", "subprocess", "threading", "time"}

HEAVY = {
    *("lightgbm", "matplotlib", "mlflow", "numpy", "optuna", "pandas", "psutil", "pyarrow", "rich", "sklearn", "torch"),
    *("safetensors", "xgboost", "stable_baselines3", "gymnasium"),
}
VAGUE = {"base", "common", "core", "helper", "helpers", "manager", "misc", "util", "utils"}


@functools.cache
def modules(package: str) -> dict[str, Path]:
    """Dotted name to file of every module of one side."""
    root = SIDES[package]
    files = sorted((root / package.replace(".", "/")).rglob("*.py"))
    found = {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    inner = [other for other in SIDES if other.startswith(f"{package}.")]
    return {name: file for name, file in found.items() if not any(name.startswith(f"{other}.") for other in inner)}


@functools.cache
def imports(name: str) -> frozenset[str]:
    """Dotted names of all that a module imports, at any depth of its code."""
    file = next(modules(package)[name] for package in SIDES if name in modules(package))
    parents = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    everything = {name: file for package in SIDES for name, file in modules(package).items()}
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            members = {f"{origin}.{alias.name}" for alias in node.names}
            found |= (members & everything.keys()) or {origin}
    return frozenset(found)


def room(package: str, name: str) -> str:
    """The top-level name under the package: the module itself, or its folder."""
    return name.removeprefix(package).removeprefix(".").split(".")[0]


def matches(name: str, patterns: list[str]) -> bool:
    """Whether a name is one of these, or of their families."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def layer(package: str, name: str) -> int:
    """How far below the top a module stands; a package itself is under all others, unless it is a front door."""
    if name == package:
        return -1 if package in FRONT_DOORS else len(LAYERS[package])
    for depth, line in enumerate(LAYERS[package]):
        if matches(room(package, name), line):
            return depth
    pytest.fail(f"{name} has no place in the order of imports: add {room(package, name)!r} to LAYERS in {__file__}")


def libraries(name: str) -> set[str]:
    """Top-level names of what a module imports from outside the standard library and this project."""
    ours = {package.split(".")[0] for package in SIDES}
    return {found.split(".")[0] for found in imports(name)} - set(sys.stdlib_module_names) - ours


@pytest.mark.parametrize("package", SIDES)
def test_a_module_imports_only_from_its_own_layer_and_those_below(package: str) -> None:
    upward = [
        f"{name} imports {other}, which stands above it"
        for name in modules(package)
        for other in imports(name) & modules(package).keys()
        if layer(package, other) < layer(package, name)
    ]
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize("package", SIDES)
def test_modules_do_not_import_each_other_in_a_circle(package: str) -> None:
    graph = {name: imports(name) & modules(package).keys() - {package, name} for name in modules(package)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("package", SIDES)
def test_the_order_of_imports_names_only_what_exists(package: str) -> None:
    rooms = {room(package, name) for name in modules(package)}
    gone = [pattern for line in LAYERS[package] for pattern in line if not fnmatch.filter(rooms, pattern)]
    assert not gone, f"take {gone} out of LAYERS in {__file__}"


# Who may not know whom.
STRANGERS = [
    ("sweeproute", "hydra_plugins"),
    ("sweeproute", "submitit_ssh"),
    ("hydra_plugins.sweeproute", "sweeproute"),
    ("submitit_ssh", "sweeproute"),
    ("submitit_ssh", "hydra_plugins"),
    ("submitit_ssh", "hydra"),
    ("submitit_ssh", "omegaconf"),
]


@pytest.mark.parametrize(("package", "other"), STRANGERS)
def test_two_sides_do_not_know_each_other(package: str, other: str) -> None:
    crossing = [
        f"{name} imports {found}"
        for name in modules(package)
        if not matches(name, SEE_BOTH)
        for found in imports(name)
        if found == other or found.startswith(f"{other}.")
    ]
    assert not crossing, "\n".join(crossing)


def test_what_is_sent_to_a_far_machine_needs_the_standard_library_alone() -> None:
    needed = {name: libraries(name) for name in modules("submitit_ssh.far")}
    assert not any(needed.values()), needed


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    strangers = [
        name
        for package in SIDES
        for name in modules(package)
        if library in libraries(name)
        and not (package == "sweeproute" and matches(room(package, name), ONLY_IN[library]))
    ]
    assert not strangers, f"{library} is for {ONLY_IN[library]} alone, and is imported by {strangers}"


def test_what_stands_below_the_data_imports_arrays_and_tables_at_most() -> None:
    data = layer("sweeproute", "sweeproute.data")
    too_much = {
        name: libraries(name) - (CONFIG if name == "sweeproute.config" else BELOW_DATA)
        for name in modules("sweeproute")
        if layer("sweeproute", name) > data
    }
    assert not any(too_much.values()), too_much


@pytest.mark.parametrize("name", PURE)
def test_the_policy_knows_neither_clock_nor_files(name: str) -> None:
    dotted = f"hydra_plugins.sweeproute.{name}"
    assert not libraries(dotted)
    assert not {found.split(".")[0] for found in imports(dotted)} & IMPURE


@pytest.mark.parametrize(
    "statement",
    [
        "import sweeproute.config",
        "import sweeproute.__main__",
        "from hydra.core.plugins import Plugins; Plugins.instance()",
    ],
)
def test_what_starts_every_command_imports_nothing_heavy(statement: str) -> None:
    code = f"import sys; {statement}; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "", f"{statement} imports {done.stdout}"


def python_files() -> list[Path]:
    """Every Python file of the project."""
    rooms = ("src", "launchers", "tests", "benchmarks")
    return [ROOT / "train.py", *(file for name in rooms for file in sorted((ROOT / name).rglob("*.py")))]


def test_every_module_says_first_what_it_is_for() -> None:
    silent = []
    for file in python_files():
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        if not re.fullmatch(r'"""[^"]+\.(""")?', first):
            silent.append(f"{file.relative_to(ROOT)}: {first}")
    assert not silent, "the first line is a docstring's first sentence, with a full stop:\n" + "\n".join(silent)


def test_no_module_is_too_long_to_hold_in_mind() -> None:
    files = [file for file in python_files() if file.parent != ROOT / "tests"]
    lengths = {file.relative_to(ROOT): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    long = [f"{file}: {length} lines" for file, length in lengths.items() if length > 400]
    assert not long, "over 400 lines, so a new noun is due:\n" + "\n".join(long)


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = [file for file in python_files() if VAGUE & set(file.stem.strip("_").removeprefix("test_").split("_"))]
    assert not vague, "name it for the one thing that it does:\n" + "\n".join(map(str, vague))


def test_no_file_names_a_path_of_one_machine() -> None:
    rooms = ("src", "launchers", "conf", "tests", "benchmarks", "docs", ".ci")
    files = [file for file in ROOT.iterdir() if file.is_file()]
    files += [file for name in rooms for file in (ROOT / name).rglob("*") if "__pycache__" not in file.parts]
    known = [re.escape(f"{path}/") for path in (ROOT, Path.home()) if path != Path("/")]
    private = re.compile("|".join([*known, r"(?<![\w.])/(?:home|Users)/(?!me\b)\w+"]))
    texts = {".cff", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml", ""}
    found = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for file in files
        if file.is_file() and file.suffix in texts
        for match in private.finditer(file.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)
