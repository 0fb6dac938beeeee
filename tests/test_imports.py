"""Importing a module does nothing. import-linter checks the direction of imports
(pyproject.toml)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import raspi_server

PACKAGE = Path(raspi_server.__file__).parent
IMPORTS_LGPIO = "raspi_server.gpio.lgpio_backend"
"""Imported when real pins are asked for."""

PROGRAM = """
import importlib, json, os, sys, threading

checkout, *modules = sys.argv[1:]
here = os.getcwd()
OURS = (here, f"{checkout}/www", f"{checkout}/config.yaml", f"{checkout}/tls",
        "/etc/raspi-server", "/var/lib/raspi-server", "/run/raspi-server", "/dev/gpio", "/dev/mem")
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
           "os.utime", "os.chmod", "shutil.", "tempfile.", "subprocess.Popen", "os.fork",
           "os.posix_spawn", "os.exec", "os.system", "socket.bind", "socket.connect")
touched = []


def watch(event, args):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(args[0]))
        writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if path.startswith(OURS) or (writes and path != os.devnull):
            touched.append(f"{event} {path}")
    elif event.startswith(CHANGES):
        touched.append(f"{event} {args}")


sys.path.insert(0, checkout)
sys.addaudithook(watch)


def state():
    return {
        "lgpio": {"lgpio", "_lgpio"} & set(sys.modules),
        "threads": {thread.name for thread in threading.enumerate()},
        "tasks": set(os.listdir("/proc/self/task")),
        "files": set(os.listdir(here)),
    }


effects = {}
for module in modules:
    before = state()
    touched.clear()
    importlib.import_module(module)
    effects[module] = {"touched": list(touched)}
    effects[module] |= {key: sorted(now - before[key]) for key, now in state().items()}
print(json.dumps(effects))
"""


def modules() -> list[str]:
    """Return the names of all modules and packages, except the one that imports lgpio."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append(".".join(parts).removesuffix(".__init__"))
    assert IMPORTS_LGPIO in found
    return [module for module in found if module != IMPORTS_LGPIO]


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the side effects of each module. A new Python imports them one by one, in a folder
    with files like ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "config.yaml").write_text("port: 8080\n")
    (folder / "www").mkdir()
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", PROGRAM, str(PACKAGE.parent), *modules()],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("module", modules())
def test_import_has_no_side_effects(effects: dict[str, Any], module: str) -> None:
    """Importing a module imports no lgpio, starts no thread and opens no file of ours."""
    assert effects[module] == {"touched": [], "lgpio": [], "threads": [], "tasks": [], "files": []}
