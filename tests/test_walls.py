"""The walls of docs/architecture.rst: which room may use which, on the whole graph of imports.

Every import counts: at the top of a module, inside a function, for types only, and ``import stratuslab``.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest

from tests.harness import CHECKOUT

Graph = dict[str, set[str]]

# From the ground upwards: what is in a room (modules, and packages with all that is in them and in no other room), and the
# rooms under it that it uses. Names are below stratuslab; the whole package's own module is "".
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "ground": (
        {
            "errors",
            "http_proxy",
            "response_deadline",
            "deadline_reader",
            "certificate_error",
            "private_files",
            "url_credentials",
            "openssh_keys",
            "byte_sizes",
            "environment",
            "suggestion",
            "version",
            "opennebula",
            "known_settings",
        },
        set(),
    ),
    "marketplace": ({"marketplace"}, {"ground"}),
    "ssh": ({"ssh"}, {"ground"}),
    "cloud": ({"cloud"}, {"ground"}),
    "settings": (
        {"settings", "configuration_file", "settings_warnings", "instance_types", "context_input"},
        {"ground", "cloud"},
    ),
    "diagnosis": ({"diagnosis"}, {"ground"}),
    "results": ({"results"}, {"ground", "diagnosis", "settings", "marketplace"}),
    "output": ({"output"}, {"ground", "diagnosis", "results"}),
    "local": ({"local", "local.api_error", "local.xml_writer", "local.child_python"}, {"ground"}),
    "local: tiny": ({"local.tiny"}, {"ground"}),
    "local: store": ({"local.store"}, {"ground", "local"}),
    "local: images": ({"local.images"}, {"ground", "marketplace", "local", "local: store"}),
    "local: machines": ({"local.machines"}, {"ground", "local", "local: store", "local: images"}),
    "local: engine": ({"local.engine"}, {"ground", "local", "local: store", "local: images", "local: machines"}),
    "local: supervisor": ({"local.machine_supervisor"}, {"ground", "local: machines", "local: engine"}),
    "local: api": (
        {"local.api"},
        {"ground", "marketplace", "local", "local: store", "local: images", "local: machines", "local: engine"},
    ),
    "connections": (
        {"connections"},
        {"ground", "marketplace", "cloud", "settings", "output", "local", "local: store", "local: images", "local: api"},
    ),
    "commands: base": (
        {
            "commands.command_declaration",
            "commands.main",
            "commands.session",
            "commands.standard_output",
            "commands.shared.output_arguments",
        },
        {"ground", "marketplace", "cloud", "settings", "results", "output", "connections"},
    ),
    "commands: shared": (
        {"commands.shared"},
        {"ground", "marketplace", "ssh", "cloud", "settings", "diagnosis", "results", "output", "connections", "commands: base"},
    ),
    "commands": (
        {"commands", "__main__"},
        {
            *("ground", "marketplace", "ssh", "cloud", "settings", "results", "output", "connections"),
            *("local", "local: tiny", "local: store", "local: images", "local: machines", "local: engine", "local: api"),
            *("commands: base", "commands: shared"),
        },
    ),
    "python_library": (
        {"python_library", ""},
        {
            *("ground", "marketplace", "ssh", "cloud", "settings", "diagnosis", "results", "output", "connections"),
            *("commands: base", "commands: shared", "commands"),
        },
    ),
    "testing": (
        {"testing"},
        {"ground", "local", "local: store", "local: images", "local: machines", "local: engine", "local: api", "python_library"},
    ),
}


def modules(folder: str = "stratuslab") -> dict[str, ast.Module]:
    """Each module by its name below a folder."""
    package = CHECKOUT / folder
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def imported(name: str, tree: ast.Module, package: bool) -> Iterator[str]:
    """What a module imports, as dotted names that begin with ``stratuslab``."""
    here = f"stratuslab.{name}".rstrip(".").split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + package] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def graph_of(trees: Mapping[str, ast.Module]) -> Graph:
    packages = {name.rpartition(".")[0] for name in trees if name}
    graph: Graph = {}
    for name, tree in trees.items():
        graph[name] = set()
        for dotted in imported(name, tree, name in packages):
            if dotted.split(".")[0] == "stratuslab":
                inside = dotted.partition(".")[2]
                graph[name].add(inside if inside in trees else inside.rpartition(".")[0])
        graph[name].discard(name)
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes each of which leads to all others of the group."""
    reached: Graph = {}
    for start in graph:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - found
            found |= new
            waiting.extend(new)
        reached[start] = found
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in graph}
    return sorted(sorted(group) for group in groups if group)


def room_of(module: str) -> str:
    """The room that names the module, else the one that names the nearest package around it."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for room, (held, _) in ROOMS.items():
            if ".".join(parts[:length]) in held:
                return room
    raise LookupError(f"stratuslab.{module} is in no room of tests/test_walls.py")


def room_graph(graph: Graph) -> Graph:
    rooms: Graph = {room: set() for room in ROOMS}
    for module, used in graph.items():
        rooms[room_of(module)].update(map(room_of, used))
    return {room: used - {room} for room, used in rooms.items()}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(modules())


def test_no_circle_of_modules(graph: Graph):
    assert circles(graph) == []


def test_no_circle_of_rooms(graph: Graph):
    assert circles(room_graph(graph)) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_uses_those_that_the_architecture_names(graph: Graph, room: str):
    assert room_graph(graph)[room] <= ROOMS[room][1]


def test_rooms_stand_on_those_under_them():
    seen: set[str] = set()
    for room, (_, uses) in ROOMS.items():
        assert uses <= seen, room
        seen.add(room)


def test_cloud_and_the_embedded_cloud_do_not_know_each_other(graph: Graph):
    for module, used in graph.items():
        if module.startswith("cloud"):
            assert not any(name.startswith("local") for name in used), module
        if module.startswith("local"):
            assert not any(name.startswith(("cloud", "commands", "output", "gateway", "settings")) for name in used), module


@pytest.mark.parametrize("folder", ["stratuslab", "tests"])
def test_a_name_stands_for_one_thing(folder: str):
    trees = {name: tree for name, tree in modules(folder).items() if not name.endswith("conftest")}
    classes = [
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    files = [name.rpartition(".")[2] for name in trees if not any(other.startswith(f"{name}.") for other in trees)]
    assert [name for name, number in Counter([*classes, *files]).items() if number > 1] == []


def test_every_form_of_import_is_seen():
    source = """
import stratuslab
import stratuslab.cloud.client as client
from stratuslab import gateway
from .sibling import name
from ..errors import NotFound
if TYPE_CHECKING:
    from stratuslab.python_api import open_cloud
def later():
    from stratuslab.settings import load
"""
    names = ("", "cloud", "cloud.client", "gateway", "ssh", "ssh.sibling", "errors", "python_api", "settings")
    trees = {name: ast.parse("") for name in names} | {"ssh.keys": ast.parse(source)}
    assert graph_of(trees)["ssh.keys"] == {"", "cloud.client", "gateway", "ssh.sibling", "errors", "python_api", "settings"}


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [["a", "b", "c"]]
