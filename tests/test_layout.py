"""The floors of the house: a room imports only from below, and importing one does nothing."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import raspi_server

PACKAGE = Path(raspi_server.__file__).parent

FLOORS = {
    # The ground: what stands here is imported with every room.
    "__init__": -1,
    # 0: values, from outside and to outside. Steps within a floor stand after the point.
    "gpiochip": 0,
    "header": 0,
    "journal": 0,
    "keyexchange": 0,
    "messages": 0,
    "shares": 0,
    "storage": 0,
    "strictyaml": 0,
    "ticker": 0,
    "config": 0.1,
    # 1: each for one thing of the world.
    "clock": 1,
    "codes": 1,
    "repeats": 0,
    "guests": 1,
    "doors": 1.1,
    "account": 1.2,
    "excuses": 1.3,
    "fleet": 1,
    "broker": 1.4,
    "heartbeat": 1,
    "hub": 1,
    "knocks": 0.1,
    "levels": 1,
    "links": 1,
    "sessions": 1,
    "mdns": 1,
    "lgpiopins": 1,
    "packed": 1,
    "tls": 1,
    "vitals": 1,
    "source": 1,
    "history": 1.1,
    "signin": 1.1,
    "auth": 1.2,
    "pinfactory": 1.1,
    # 2: the pins.
    "safestate": 2,
    "showcode": 2,
    "inputs": 2,
    "openapi": 2,
    "outputs": 2,
    "groups": 2.1,
    "slots": 2.2,
    "board": 2.3,
    "discovery": 2,
    "doctor": 2,
    # 3: the front doors, and what they show without pins.
    "demo": 3,
    "site": 3,
    "api": 3.1,
    "bodies": 3.1,
    "files": 3.1,
    "past": 3.15,
    "trust": 3.2,
    "metrics": 3.1,
    "websocket": 3.1,
    "lookout": 2,
    "mqtt": 3.2,
    "web": 3.3,
    # 4: the life of the service.
    "appliance": 4,
    # 5: the command line.
    "__main__": 5,
}

IMPORTS_LGPIO = {"lgpiopins"}
"""The one room that says so; nothing imports it but `pinfactory`, when real pins are asked for."""


def rooms_in(package):
    """Every module of a package, and every package in it, by name."""
    inner = {init.parent.name for init in package.glob("*/__init__.py")}
    return {file.stem for file in package.glob("*.py")} | inner


def doors(package, room):
    """The rooms that `room` imports, anywhere in its text, each with the line."""
    file = package / f"{room}.py"
    tree = ast.parse(file.read_text(encoding="utf-8"), file)
    found = set()
    for node in ast.walk(tree):
        for name in _imported(node, package.name):
            house, *inside = name.split(".")
            if house == package.name and inside and inside[0] in rooms_in(package):
                found.add((inside[0], node.lineno))
    return sorted(found)


def _imported(node, package):
    """The dotted names an import statement, or a call of `import_module`, may bring in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = ".".join(part for part in (package if node.level else "", node.module) if part)
        return [base, *(f"{base}.{alias.name}" for alias in node.names)]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "attr", getattr(node.func, "id", None))
        if called in ("import_module", "__import__"):
            name = str(node.args[0].value)
            return [f"{package}{name}" if name.startswith(".") else name]
    return []


def wrong_doors(package, floors):
    """One sentence for every import that does not lead down."""
    return [
        f"{room}.py:{line}: the door from {room} (floor {floors[room]:g})"
        f" to {other} (floor {floors[other]:g}) opens the wrong way"
        for room in sorted(rooms_in(package))
        for other, line in doors(package, room)
        if floors[other] >= floors[room]
    ]


def test_the_plan_and_the_house_have_the_same_rooms():
    """Whoever adds a room says on which floor it stands; whoever removes one takes it off the
    plan."""
    there, planned = rooms_in(PACKAGE), set(FLOORS)
    assert not there - planned, f"rooms without a floor in FLOORS: {sorted(there - planned)}"
    assert not planned - there, f"rooms in FLOORS that do not exist: {sorted(planned - there)}"


def test_every_door_leads_down():
    """A room can be understood with what is below it, for it imports nothing else."""
    floors = {room: float("inf") for room in rooms_in(PACKAGE)} | FLOORS
    wrong = wrong_doors(PACKAGE, floors)
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "from . import {}",
        "from .{} import x",
        "from house import {}",
        "from house.{} import x",
        "import house.{}",
        "import house.{} as other",
        "import os, house.{}",
        "def f():\n    from .{} import x",
        "class A:\n    def f(self):\n        import house.{}",
        "if TYPE_CHECKING:\n    from .{} import x",
        "try:\n    from . import os, {}\nexcept ImportError:\n    pass",
        "importlib.import_module('.{}', __package__)",
        "import_module('house.{}')",
        "__import__('house.{}')",
    ],
)
def test_a_door_that_opens_the_wrong_way_is_found_wherever_it_hides(text, tmp_path):
    """An import from above, or from the same floor, is named with its line; one from below is
    fine."""
    house = tmp_path / "house"
    house.mkdir()
    floors = {"__init__": -1, "cellar": 0, "hall": 1, "study": 1, "attic": 2}
    for room in floors:
        (house / f"{room}.py").write_text("import os\nfrom . import __version__\n")
    hall = house / "hall.py"
    hall.write_text(text.format("cellar"))
    assert doors(house, "hall") == [("cellar", text.count("\n", 0, text.index("{")) + 1)]
    assert wrong_doors(house, floors) == []
    for other in ("study", "attic"):
        hall.write_text(text.format(other))
        line = text.count("\n", 0, text.index("{")) + 1
        assert wrong_doors(house, floors) == [
            f"hall.py:{line}: the door from hall (floor 1) to {other} (floor {floors[other]})"
            " opens the wrong way"
        ]


def test_a_library_of_the_same_name_is_no_room(tmp_path):
    """`import site` is Python's own module and no door."""
    house = tmp_path / "house"
    house.mkdir()
    (house / "hall.py").write_text("import attic\nfrom attic import x\nimport housework.attic\n")
    (house / "attic.py").touch()
    assert doors(house, "hall") == []


LOOK_ROUND = """
import importlib, json, os, sys, threading

checkout, *rooms = sys.argv[1:]
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
        "made": set(os.listdir(here)),
    }


found = {}
for room in rooms:
    before = state()
    touched.clear()
    try:
        importlib.import_module(room)
        failure = None
    except BaseException as error:
        failure = repr(error)
    found[room] = {"failure": failure, "touched": list(touched)}
    found[room] |= {key: sorted(now - before[key]) for key, now in state().items()}
print(json.dumps(found))
"""


def look_round(folder, checkout, rooms):
    """What importing each of `rooms`, one after the other, did in a fresh Python in `folder`."""
    done = subprocess.run(
        [sys.executable, "-P", "-B", "-c", LOOK_ROUND, checkout, *rooms],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


NOTHING = {"failure": None, "touched": [], "lgpio": [], "threads": [], "tasks": [], "made": []}
ROOMS = sorted(rooms_in(PACKAGE) - IMPORTS_LGPIO - {"__init__"})


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What importing the package and every room of it did, in a folder with files like ours."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "config.yaml").write_text("port: 8080\n")
    (folder / "www").mkdir()
    names = ["raspi_server", *(f"raspi_server.{room}" for room in ROOMS)]
    return look_round(folder, PACKAGE.parent, names)


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_importing_a_room_does_nothing(seen, room):
    """Importing the package or a room of it imports no lgpio, starts no thread, and touches no
    file, so that tests, `check` and `doctor` may do so anywhere."""
    assert seen[f"raspi_server.{room}".rstrip(".")] == NOTHING


@pytest.mark.parametrize(
    ("text", "key", "found"),
    [
        ("import os, json", None, None),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True,"
         " name='busy').start()", "threads", ["busy"]),
        ("open('config.yaml')", "touched", ["open {}/config.yaml"]),
        ("open('state', 'w')", "touched", ["open {}/state"]),
        ("import os\nos.mkfifo('fifo')", "made", ["fifo"]),
        ("open('/dev/null', 'w').close()", None, None),
        ("import os\nos.listdir('www')", "touched", ["os.listdir {}/www"]),
        ("import lgpio", "lgpio", ["lgpio"]),
        ("1 / 0", "failure", "ZeroDivisionError('division by zero')"),
    ],
    ids=["nothing", "thread", "reads", "writes", "fifo", "null", "lists", "lgpio", "fails"],
)  # fmt: skip
def test_a_room_that_does_something_is_caught(text, key, found, tmp_path):
    """A module that starts a thread, opens a file of ours or imports lgpio on import is noticed."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/restless.py").write_text(text)
    (tmp_path / "lib/lgpio.py").touch()
    folder = tmp_path / "elsewhere"
    (folder / "www").mkdir(parents=True)
    (folder / "config.yaml").touch()
    seen = look_round(folder, tmp_path / "lib", ["restless"])["restless"]
    if key is None:
        assert seen == NOTHING
    elif isinstance(found, list):
        assert seen[key] == [part.format(folder) for part in found]
    else:
        assert seen[key] == found
