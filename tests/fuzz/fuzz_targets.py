"""What is fuzzed: everything that reads what others wrote. A target takes any bytes, and raises only if it found a defect.

Bytes are read as they are, or as a recipe (:class:`Recipe`) for texts of which each piece means something to some parser.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import socket
import stat
import tempfile
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement
from xmlrpc.client import dumps

from stratuslab import context_input, instance_types, openssh_keys, settings, settings_warnings, url_credentials
from stratuslab.cloud import reply, template_writer
from stratuslab.cloud.client import Cloud
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, MachineTemplate
from stratuslab.cloud.user_inputs import user_inputs
from stratuslab.cloud.version_differences import ServerVersion
from stratuslab.commands.completion_scripts import commands
from stratuslab.commands.shared.instance_argument import select
from stratuslab.commands.shared.output_arguments import output_options
from stratuslab.diagnosis.causes import known_cause
from stratuslab.diagnosis.explanation import explain
from stratuslab.diagnosis.message_cleaning import clean
from stratuslab.diagnosis.timeline import steps
from stratuslab.environment import Environment
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.http_proxy import proxy_for
from stratuslab.known_settings import KNOWN
from stratuslab.local.api.accounts import Accounts
from stratuslab.local.api.http_server import open_server
from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import EMBEDDED, SERVER_PROFILES
from stratuslab.local.api_error import APIError
from stratuslab.local.engine.template_reader import Template
from stratuslab.local.images.image_format import detect_format, virtual_size
from stratuslab.local.machines.qemu.context_files import context_disk, shell_assignments
from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.local.machines.simulated.session_streams import HungUp, Interrupted, Streams, TerminalStreams
from stratuslab.local.machines.simulated.shell import Shell
from stratuslab.marketplace import metadata, metadata_writer
from stratuslab.marketplace.image_decompression import unpacked
from stratuslab.marketplace.marketplace_transport import normalise_endpoint
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.template_grammar import TemplateSyntaxError, parse, render
from stratuslab.output.formatters import formatter
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.redaction import masked, masked_text, masked_value
from stratuslab.output.result_columns import INSTANCES
from stratuslab.output.safe_text import cut, harmless, one_line
from stratuslab.output.terminal import Terminal
from stratuslab.results import InstanceDetails, InstanceRow, Listing
from stratuslab.ssh import banner, key_inspection, login_target, ssh_server_addresses
from stratuslab.ssh.known_hosts import KnownHosts, host_key_alias
from tests.fakes.opennebula_answers import failure, fault, machine, pool, recording, success
from tests.fakes.scripted_server import head
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX
from tests.local.machines.simulated.booted_machine import specified

NOW = 1_795_400_000.0

# What the parsers give a meaning to, and what trips them.
PIECES = (
    " ", "\n", "\t", "\r", "\0", "\x1b[31m", "\x9b", "\u200b", "\u202e", "\ufeff", "\U000e0041", "\ud800", "\uffff",
    "\U0001f600", "\xad", "\u0301", "\u3042", "\xe9", "\xb2", "\u0663", "=", " = ", "==", "[", "]", "]]>", "<![CDATA[", ",",
    ";", ":", "://", "/", "\\", '"', '\\"', "'", "`", "$", "$$", "${X}", "$(", "#", "&", "&amp;", "&#0;", "&lt;", "<", ">",
    "</", "/>", "<VM>", "</VM>", "<ID>", "</ID>", "<!DOCTYPE x>", "<?xml version='1.0'?>", "|", "M|password|",
    "O|range|x|1..9|", "@", "@^_^@", "%", "%s", "%%", "~", "0", "1", "-1", "7", "2147483647", "2147483648", "9" * 20,
    "9" * 5000, "1e400", "nan", "-inf", "0x1f", "1.5", "..", "5.12.0", "password=", "token: ", "SECRET",
    "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "Authorization: Basic ", "http://u:p@h/",
    "https://[::1%25eth0]:99999/", "local", "one-1", "alice", "RUNNING", "Error parsing: ", ". syntax error", "MESSAGE",
    "ERROR MESSAGE --8<--", "ERROR MESSAGE -->8--", "Thu Nov 26 10:00:00 2026 : ", "CPU", "MEMORY", "DISK", "NIC", "CONTEXT",
    "IMAGE", "SIZE", "TEMPLATE", "default", "endpoint", "-", "--", "-f", "*", "?", "{", "}", "(", ")", "!", "+", "cat",
    "echo", "a" * 300,
)  # fmt: skip


class Recipe:
    """Reads bytes as choices, numbers and texts."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def pick(self, choices: Any) -> Any:
        return choices[self.byte() % len(choices)]

    def text(self, most: int = 24) -> str:
        """A text of printable characters and pieces, repeated now and then."""
        return "".join(self._piece() for _ in range(self.byte() % most))

    def word(self) -> str:
        """A text as a system can give it to a program."""
        return self.text().encode("utf-8", "replace").decode()

    def _piece(self) -> str:
        byte = self.byte()
        if byte < 0x60:
            return chr(0x20 + byte)
        piece: str = PIECES[(byte - 0x60 + self.byte()) % len(PIECES)]
        return piece * 50 if byte > 0xF8 and len(piece) < 50 else piece

    def texts(self, most: int = 5) -> list[str]:
        return [self.text() for _ in range(self.byte() % most)]

    def words(self, most: int = 4) -> dict[str, str]:
        return {self.pick(NAMES) or self.text(4): self.text() for _ in range(self.byte() % most)}

    def rest(self) -> bytes:
        return self._data[self._at :]


NAMES = (
    "CPU", "MEMORY", "DISK", "NIC", "CONTEXT", "NAME", "IMAGE", "IMAGE_ID", "SIZE", "NETWORK", "NETWORK_ID", "IP", "SOURCE",
    "TYPE", "SSH_PUBLIC_KEY", "USER_INPUTS", "LABELS", "ERROR", "A_B", "SECRET", "",
)  # fmt: skip


@cache
def place() -> Path:
    """A private directory in memory, for what must be a file."""
    import atexit

    path = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None, prefix="stratuslab-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    os.environ["STRATUSLAB_LOCAL_ADDRESSES"] = str(path / "addresses")
    return path


def environment(environ: Mapping[str, str] | None = None) -> Environment:
    home = place() / "home"
    home.mkdir(exist_ok=True)
    return Environment(None, io.StringIO(), io.StringIO(), {"HOME": str(home), **(environ or {})})


# --- the client ----------------------------------------------------------------------------------------------------------


def replies(data: bytes) -> None:
    """An answer of a server, in pieces of any size."""
    recipe = Recipe(data)
    kind, size = recipe.byte() % 6, recipe.byte() + 1
    one, other = (recipe.text(100).encode("utf-8", "replace").decode() for _ in range(2))
    match kind:
        case 0:
            body = success(one + other)
        case 1:
            body = failure(one, recipe.byte() << 8)
        case 2:
            body = fault(-recipe.byte(), one)
        case 3:
            body = pool([machine(recipe.byte(), template=one, user_template=other), machine(2)])
        case _:
            body = recipe.rest()
    chunks = [body[at : at + size * 16] for at in range(0, len(body), size * 16)]
    with contextlib.suppress(StratusLabError):
        reply.value(chunks)
    with contextlib.suppress(StratusLabError):
        for document in reply.documents(chunks, "VM"):
            shown(Instance(document), Recipe(body))


_answers: list[bytes] = []


@cache
def _answering() -> HttpTransport:
    """A transport to a server that answers with the last of the answers."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(_answers[-1])
                connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=serve, daemon=True).start()
    credentials = Credentials("alice", "secret")
    endpoint = resolve(f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2", credentials)
    return HttpTransport(endpoint, credentials, 5.0, {})


def responses(data: bytes) -> None:
    """Bytes that a server sends instead of an HTTP response."""
    recipe = Recipe(data)
    lines = [f"HTTP/1.{recipe.byte() % 3} {recipe.pick(('200', '200', '100', '302', '407', recipe.text(3)))} {recipe.text(4)}"]
    lines += [
        f"{recipe.pick(HEADERS)}: {recipe.pick(('chunked', 'close', '5', recipe.text(4)))}" for _ in range(recipe.byte() % 4)
    ]
    structured = "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + recipe.rest()
    _answers[:] = [structured if data[:1] < b"\xc0" else data[1:]]
    with contextlib.suppress(StratusLabError):
        assert len(b"".join(_answering().post(b"<call/>"))) <= len(_answers[-1])


PATHS = (
    "ID", "NAME", "UNAME", "UID", "GNAME", "STATE", "LCM_STATE", "STIME", "ETIME", "CPU", "MEMORY", "LAST_POLL",
    "MONITORING/CPU", "MONITORING/MEMORY", "MONITORING/TIMESTAMP", "MONITORING/GUEST_IP_ADDRESSES", "LOCK/LOCKED",
    "LOCK/OWNER", "LOCK/TIME", "TEMPLATE/VCPU", "TEMPLATE/CPU", "TEMPLATE/MEMORY", "TEMPLATE/NIC/IP",
    "TEMPLATE/NIC/IP6_GLOBAL", "TEMPLATE/NIC/NETWORK", "TEMPLATE/NIC/EXTERNAL_PORT_RANGE", "TEMPLATE/NIC_ALIAS/IP",
    "TEMPLATE/PCI/IP", "TEMPLATE/DISK/SIZE", "TEMPLATE/DISK/SOURCE", "TEMPLATE/DISK/DISK_ID", "TEMPLATE/DISK/TYPE",
    "TEMPLATE/CONTEXT/SSH_PUBLIC_KEY", "TEMPLATE/CONTEXT/DB_PASSWORD", "TEMPLATE/ERROR", "TEMPLATE/ERROR/MESSAGE",
    "TEMPLATE/ERROR/TIMESTAMP", "USER_TEMPLATE", "USER_TEMPLATE/ERROR", "USER_TEMPLATE/SCHED_MESSAGE",
    "USER_TEMPLATE/LABELS", "USER_TEMPLATE/USER_INPUTS/PIN", "USER_TEMPLATE/PIN", "USER_TEMPLATE/ERROR_MONITOR",
    *(f"HISTORY_RECORDS/HISTORY/{name}" for name in ("HOSTNAME", "STIME", "ETIME", "PSTIME", "PETIME", "RSTIME", "RETIME")),
    "HISTORY_RECORDS/HISTORY/ACTION", "HISTORY_RECORDS/HISTORY/REASON", "HISTORY_RECORDS/HISTORY/UID",
)  # fmt: skip
ODD_NAMES = ("a:b", "a::", ":", "_", "A.B-C", "xml", "xmlns:x", "\xe9", "\u3042", "{urn:x}y", "{}y", "A" * 5000)
NUMBERS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "11", "14", "16", "36", "38", "44", "1795399999", "1795400001", "-1")


def documents(data: bytes) -> None:
    """Any VM document, in every form of output."""
    recipe = Recipe(data)
    root = Element("VM")
    SubElement(root, "STATE").text = recipe.pick(NUMBERS)
    SubElement(root, "LCM_STATE").text = recipe.pick(NUMBERS)
    while recipe.more:
        at = root
        *parents, leaf = recipe.pick(PATHS if recipe.byte() < 240 else ODD_NAMES).split("/")
        for name in parents:
            new = recipe.byte() > 200
            at = at[-1] if len(at) and at[-1].tag == name and not new else SubElement(at, name)
        SubElement(at, leaf).text = recipe.pick(NUMBERS) if recipe.byte() < 64 else recipe.text()
    shown(Instance(root), recipe)


def shown(instance: Instance, recipe: Recipe) -> None:
    explanation = explain(instance, NOW)
    row = InstanceRow.of(instance, NOW)._replace(explanation=explanation)
    details = InstanceDetails(instance, explanation, steps(instance, NOW), NOW, [instance.name], whole=True)
    width, form = recipe.byte() % 120 + 1, recipe.pick(("table", "json", "csv", "ids", "table"))
    terminal = Terminal(max(width, 40), unicode=width % 2 == 0)
    options = OutputOptions(INSTANCES, form, width=width, notes=True, terminal=terminal)
    more: dict[str, Any] = recipe.pick(({}, {"columns": INSTANCES.columns}, {"sort": recipe.pick(INSTANCES.columns)}))
    writer = formatter(options._replace(**more))
    lines = [line for result in (Listing([row, row]), details) for line in writer.show(result)]
    lines += writer.end("x", 0, ())
    if form == "json":
        json.loads("".join(lines))
    elif form == "csv":
        assert len(list(csv.reader(lines))) == 3
    for line in lines:
        safe(line, "\n" if form == "json" else "")


HARMFUL = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def safe(line: str, allowed: str = "") -> None:
    """Nothing in the line can harm a terminal, or hides on it."""
    if not line.isascii() or not line.isprintable():
        assert not [char for char in line if unicodedata.category(char) in HARMFUL and char not in allowed], ascii(line)


def texts(data: bytes) -> None:
    """What servers, hosts and users write, in each function that reads a text."""
    recipe = Recipe(data)
    text, other = recipe.text(60), recipe.text(60)
    for shown_ in (one_line(text), harmless(text), one_line(masked_text(text)), cut(one_line(text), 20, "...")):
        safe(shown_)
    masked(text), masked_value(other, text), clean(text), known_cause(text), clean(f"{text}{other}")
    assert "s3same" not in masked_text(f"{other} password=s3same")
    (
        url_credentials.shown(text),
        openssh_keys.public_key(text),
        list(openssh_keys.public_keys(text)),
        host_key_alias(text.encode("utf-8", "replace").decode(), 7),
    )
    with contextlib.suppress(ValueError):
        url_credentials.split_login(text)
    for read in (
        lambda: resolve(text, Credentials("alice", other)),
        lambda: normalise_endpoint(text),
        lambda: proxy_for("http://h/", {"http_proxy": text, "no_proxy": other}),
        lambda: login_target.checked_host(text),
        lambda: login_target.checked_user(text),
        lambda: login_target.jumps(text),
        lambda: context_input.from_option(text),
        lambda: reply.error_for(text, recipe.byte()) and None,
    ):
        with contextlib.suppress(UsageError):
            read()
    ssh_server_addresses.listening_points(Instance(Element("VM")).nics, text, 22, [other])


def files(data: bytes) -> None:
    """Files that somebody else may have written: keys, known hosts, banners."""
    path = place() / "file"
    path.write_bytes(data)
    with contextlib.suppress(StratusLabError):
        key_inspection.examine(path)
    with contextlib.suppress(StratusLabError):
        KnownHosts(path).keys("stratuslab-1")
    banner._banner(bytearray(data)), banner._instead(bytearray(data))


def entries(data: bytes) -> None:
    """A Marketplace entry."""
    for document in (data, _entry(Recipe(data))):
        with contextlib.suppress(StratusLabError):
            found = metadata.read(document, TTYLINUX, datetime.fromtimestamp(NOW, timezone.utc))
            again = metadata.single(metadata.parsed(metadata_writer.written(found).encode("utf-8", "replace")))
            assert again.identifier == found.identifier == TTYLINUX


def _entry(recipe: Recipe) -> bytes:
    names = [f"<{name}>{recipe.text()}</{name}>" for name in ENTRY if recipe.byte() > 128]
    return f"{ENTRY_HEAD}{TTYLINUX}</dcterms:identifier>{''.join(names)}</rdf:Description></rdf:RDF>".encode("utf-8", "replace")


ENTRY_HEAD = (
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/" '
    'xmlns:slreq="http://mp.stratuslab.eu/slreq#" xmlns:slterms="http://mp.stratuslab.eu/slterms#">'
    "<rdf:Description><dcterms:identifier>"
)
ENTRY = (
    "slreq:bytes", "dcterms:title", "dcterms:valid", "slterms:location", "slterms:deprecated", "dcterms:format",
    "slterms:os", "slreq:checksum", "slreq:endorsement", "dcterms:created", "slterms:inbound-port", "dcterms:description",
)  # fmt: skip


def templates(data: bytes) -> None:
    """Templates as text, written and read: both agree."""
    recipe = Recipe(data)
    attributes = [
        (recipe.pick(NAMES) or recipe.text(4), recipe.text() if recipe.byte() < 128 else recipe.words())
        for _ in range(recipe.byte() % 5)
    ]
    with contextlib.suppress(UsageError):
        expected = []
        for name, value in attributes:
            said: Any = value if isinstance(value, str) else {key.upper(): part for key, part in value.items() if part}
            expected += [(name.upper(), said)] if said else []
        assert parse(render(attributes)) == expected
    for text in (recipe.text(80), data.decode("utf-8", "replace")):
        with contextlib.suppress(TemplateSyntaxError, UsageError):
            again = render(parse(text))
            assert render(parse(again)) == again
        with contextlib.suppress(APIError):
            Template(text)
    request(recipe)


def request(recipe: Recipe) -> None:
    """What a user asks for, as each version is asked."""
    inputs = Element("VMTEMPLATE")
    for name, value in recipe.words().items():
        SubElement(SubElement(inputs, "TEMPLATE"), "USER_INPUTS").append(element := Element(name))
        element.text = value
    base = MachineTemplate.read(inputs)
    with contextlib.suppress(StratusLabError):
        for one in user_inputs(base):
            one.value(recipe.text())
        wanted = MachineRequest(
            root=ImageDisk(recipe.text() if recipe.byte() < 99 else TTYLINUX),
            cpu=recipe.byte(),
            ram=recipe.byte(),
            swap=recipe.byte(),
            template=base if recipe.byte() > 128 else None,
            name=recipe.text(),
            context=recipe.words(),
            cloud_init=recipe.text(),
            public_keys=recipe.text(),
            requirements=recipe.text(),
            labels=tuple(recipe.texts()),
            inputs=recipe.words(),
        )
        parse(
            template_writer.template(
                wanted, ServerVersion(recipe.pick(("", "3.8.1", "4.14.2", "5.12.0", "7.4.0", recipe.text())))
            )
        )


def configurations(data: bytes) -> None:
    """A configuration file and variables."""
    recipe = Recipe(data)
    if recipe.byte() < 100:
        keys = [f"{recipe.pick(KEYS)} = {recipe.text()}\n" for _ in range(recipe.byte() % 9)]
        content = "".join(["[default]\n", *keys, "[instance_types]\n", f"{recipe.text()} = {recipe.text()}\n"]).encode(
            "utf-8", "replace"
        )
    else:
        content = recipe.rest()
    path = place() / "stratuslab.cfg"
    path.write_bytes(content)
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    environ = {f"STRATUSLAB_{recipe.pick(KEYS).upper()}": recipe.word() for _ in range(recipe.byte() % 4)}
    given = {"config": str(path), recipe.pick(KEYS): recipe.word()}
    with contextlib.suppress(UsageError):
        read = settings.load(environment(environ), given)
        for look in (
            lambda: [read.get(key) for key in KEYS],
            lambda: read.timeout,
            lambda: read.wait_timeout(1),
            lambda: read.hypervisor,
            read.credentials,
            lambda: resolve(read.endpoint.value, read.credentials()),
            lambda: instance_types.table(read.file.instance_types),
            lambda: list(settings_warnings.not_meant(read)),
            lambda: list(settings_warnings.doubtful(read)),
        ):
            with contextlib.suppress(StratusLabError):
                look()


KEYS = tuple(known.key for known in KNOWN)


class _NoServer:
    def post(self, body: bytes, *, once: bool = False) -> Iterator[bytes]:
        yield success("7.4.0") if b"system.version" in body else pool([machine(1, name="one"), machine(2, name="7\u0663")])


def arguments(data: bytes) -> None:
    """Words on a command line, ids and output options."""
    recipe = Recipe(data)
    words = [
        f"{recipe.pick(OPTIONS)}={recipe.word()}" if recipe.byte() > 150 else recipe.word() for _ in range(recipe.byte() % 6)
    ]
    command = recipe.pick(_all_commands())
    with contextlib.suppress(UsageError, SystemExit):
        parser = command.parser()
        parser.output = io.StringIO()
        options = parser.parse_args(words)
        kind = command.rows(options) if command.rows is not None else None
        if kind is not None:
            chosen = output_options(options, kind, environment({"COLUMNS": recipe.text(3)}))
            if kind is INSTANCES:
                chosen.selected([InstanceRow.of(Instance(Element("VM")), NOW)])
    cloud = Cloud(_NoServer(), Credentials("a", "b"), "x", sleep=lambda seconds: None)
    ids, errors = select(cloud, words)
    assert all(0 <= number < 2**31 for number in ids)
    assert len(ids) + len(errors) <= len(words)
    for number in (recipe.byte(), 2**31, 10**30):
        with contextlib.suppress(StratusLabError):
            cloud.kill(number)


@cache
def _all_commands() -> list[Any]:
    return list(commands())


OPTIONS = (
    "--format", "--columns", "--sort", "--filter", "-n", "--cpu", "--ram", "--type", "--context", "--label", "--timeout",
    "--port", "--wait-for", "--endpoint", "--volatile-disk", "--address", "--vnc-port", "-u", "--jump", "--user",
)  # fmt: skip


# --- the embedded cloud ----------------------------------------------------------------------------------------------------


class _Clouds:
    """An embedded cloud that is made anew when it has become large."""

    def __init__(self) -> None:
        self.count = 0
        self.stage: Stage | None = None

    def __call__(self) -> Stage:
        self.count += 1
        if self.stage is None or self.count % 400 == 0:
            if self.stage is not None:
                self.stage.engine.close()
            shutil.rmtree(place() / "cloud", ignore_errors=True)
            self.stage = Stage(place() / "cloud", lambda: NOW)
        return self.stage


_clouds = _Clouds()


def calls(data: bytes) -> None:
    """A call of any method, with any parameters, as a user or not."""
    recipe, engine = Recipe(data), _clouds().engine
    method = recipe.pick(_methods())
    values: list[Any] = ["alice:x"]
    for _ in range(recipe.byte() % 6):
        values.append(_value(recipe, recipe.byte()))
    body = recipe.rest()
    if recipe.byte() < 230:
        text = dumps(tuple(values), method)
        body = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text).encode()
    user = next(iter(_users())) if recipe.byte() > 20 else None
    response = b"".join(answer(engine, lambda session: user, [body], recipe.pick(_profiles())))
    with contextlib.suppress(StratusLabError):
        reply.value([response])
    with contextlib.suppress(StratusLabError):
        for document in reply.documents([response], "VM"):
            assert "damage" not in document.attrib, response


def _value(recipe: Recipe, kind: int) -> Any:
    match kind % 8:
        case 0 | 1:
            return recipe.pick((0, 1, 2, 7, -1, -2, 100, 2**31 - 1, -(2**31)))
        case 2:
            return recipe.byte() > 127
        case 3:
            return [_value(recipe, recipe.byte() % 4) for _ in range(recipe.byte() % 3)]
        case 4:
            return "".join(f'{recipe.pick(NAMES)} = [ {recipe.pick(NAMES)} = "{recipe.text(4)}" ]\n' for _ in range(3))
        case 5:
            return f'CPU=1 MEMORY={recipe.byte()} NAME="{recipe.text()}"\n{recipe.text()}'
        case 6:
            return {"methodName": recipe.pick(_methods()), "params": [recipe.text()]}
    return recipe.text()


@cache
def _methods() -> list[str]:
    from stratuslab.local.api.methods import _METHODS

    return [*sorted(_METHODS), "system.multicall", "system.listMethods", "system.methodHelp", "one.nothing"]


@cache
def _profiles() -> list[Any]:
    return [EMBEDDED, *SERVER_PROFILES.values()]


@cache
def _users() -> list[Any]:
    from stratuslab.local.store.stored_records import ADMINISTRATOR

    return [ADMINISTRATOR]


_server: list[Any] = []


def requests(data: bytes) -> None:
    """Bytes on the port of the embedded cloud, which answers them or hangs up, and lives on."""
    if not _server:
        context = open_server(_clouds().engine, "127.0.0.1", 0, Accounts({"alice": "secret"}), EMBEDDED).running()
        _server.extend((context, urlsplit(context.__enter__().rpc).port))
    recipe = Recipe(data)
    line = f"{recipe.pick(('GET', 'POST', 'HEAD', 'PUT', recipe.text(4)))} {recipe.pick(ROADS)}{recipe.text(6)} HTTP/1.1\r\n"
    headers = "".join(f"{recipe.pick(HEADERS)}: {recipe.text()}\r\n" for _ in range(recipe.byte() % 4))
    body = recipe.rest()
    length = f"Content-Length: {len(body)}\r\n" if recipe.byte() < 200 else ""
    structured = f"{line}Host: localhost\r\n{headers}{length}\r\n".encode("utf-8", "replace") + body
    with socket.create_connection(("127.0.0.1", _server[1]), 5) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(structured if data[:1] < b"\xc0" else data[1:])
        with contextlib.suppress(OSError):  # it has hung up already
            connection.shutdown(socket.SHUT_WR)
        response = connection.makefile("rb").read(1 << 20)
        assert b" 500 " not in response.partition(b"\r\n")[0], response


ROADS = (
    "/RPC2",
    "/pswd/xmlrpc",
    "/marketplace/metadata",
    f"/marketplace/metadata/{TTYLINUX}",
    "/marketplace/",
    "/",
    "http://h/RPC2",
)
HEADERS = ("Content-Type", "Content-Length", "Transfer-Encoding", "Authorization", "Expect", "X", "Host", "Origin", "Accept")


class _Channel:
    """What a session in a guest reads from and writes to."""

    closed = False

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.written = 0

    def recv(self, size: int) -> bytes:
        return self._data.read(min(size, 16))

    def recv_ready(self) -> bool:
        return True

    def settimeout(self, seconds: float | None) -> None:
        pass

    def sendall(self, data: bytes) -> None:
        self.written += len(data)
        if self.written > 1 << 20:
            raise OSError("the client went away")

    sendall_stderr = sendall


def sessions(data: bytes) -> None:
    """What a user types in a simulated guest, with and without a terminal."""
    recipe = Recipe(data)
    guest = Guest(specified(memory_mib=64), lambda reboots: None)
    text = recipe.text(60).encode(errors="replace") if recipe.byte() < 128 else recipe.rest()
    channel: Any = _Channel(recipe.rest())
    streams = TerminalStreams(channel, (80, 24)) if recipe.byte() > 128 else Streams(channel)
    streams.pause = lambda seconds: None  # type: ignore[method-assign]
    shell = Shell(guest, streams)
    with contextlib.suppress(HungUp, Interrupted):
        shell.run(text)
        while line := streams.read_line("# "):
            shell.run(line)
    assert 0 <= shell.status <= 255


def disks(data: bytes) -> None:
    """The beginning of a disk image, and a compressed one."""
    path = place() / "disk"
    head = bytearray(b"QFI\xfb\0\0\0\3" + bytes(8))
    for content in (data, bytes(head) + data, data[:257].ljust(257, b"\0") + b"ustar" + data):
        path.write_bytes(content.ljust(1 << 17, b"\0") if len(data) % 2 else content)
        with contextlib.suppress(StratusLabError):
            assert detect_format(path) in ("raw", "qcow2", "kernel")
            assert 0 <= virtual_size(path) <= 16 << 40
    for magic in (b"", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00"):
        with contextlib.suppress(StratusLabError):
            size = 0
            for piece in unpacked(io.BytesIO(magic + data)):
                size += len(piece)
                if size > 1 << 24:
                    break


def media(data: bytes) -> None:
    """The disk with a guest's context."""
    recipe = Recipe(data)
    spec = specified(name=recipe.text(), context=recipe.words(8), authorized_keys=recipe.text(), image=recipe.text())
    assignments = shell_assignments(spec, "02:00:00:00:00:01").encode("utf-8", "replace")
    medium = context_disk(spec, "02:00:00:00:00:01", recipe.texts())
    assert medium[510:512] == b"\x55\xaa" and not len(medium) % 512 and assignments in medium


TARGETS: dict[str, tuple[Callable[[bytes], None], int]] = {
    "replies": (replies, 12),
    "responses": (responses, 4),
    "documents": (documents, 12),
    "texts": (texts, 14),
    "files": (files, 8),
    "entries": (entries, 8),
    "templates": (templates, 12),
    "configurations": (configurations, 8),
    "arguments": (arguments, 3),
    "calls": (calls, 6),
    "requests": (requests, 2),
    "sessions": (sessions, 6),
    "disks": (disks, 4),
    "media": (media, 1),
}
"""Each target, and its share of a hundred inputs: less where one takes longer."""


@cache
def seeds(target: str) -> list[bytes]:
    """Inputs to begin with: those that once failed, real documents, and a few of each length."""
    usual = [b"", bytes(range(256)), b"\xff" * 64, bytes(range(0, 256, 3)) * 4]
    real = {
        "replies": [
            b"\4\xff" + recording(name) for name in ("one.vm.info", "one.vmpool.info", "one.vm.info-missing") if _has(name)
        ],
        "entries": [f"{ENTRY_HEAD}{TTYLINUX}</dcterms:identifier></rdf:Description></rdf:RDF>".encode()],
        "configurations": [b"\xff[default]\nendpoint = one\nusername = a\npassword = b%%c\n[instance_types]\nx = (1,2,3)\n"],
        "templates": [b'\0\0\0\0\0\0A = [ B = "c", D = e ]\nF = g # h\n'],
        "responses": [
            b"\xff" + head(Transfer_Encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n",
            b"\xff" + head(Content_Length=2) + b"ok",
        ],
        "requests": [b"\xffGET /marketplace/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        "sessions": [b"\0\xffecho $USER | cat > /tmp/x; cat /tmp/x && exit 3\n"],
        "files": [b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"],
    }
    return [*FOUND.get(target, []), *real.get(target, []), *usual]


def _has(name: str) -> bool:
    with contextlib.suppress(OSError):
        recording(name)
        return True
    return False


FOUND: dict[str, list[bytes]] = {
    # A quote that is not closed, with many variables: each could be read in several ways.
    "sessions": [b"\xff\xff\xff" + b'echo "' + b"$USER " * 40],
}
"""Inputs that found a defect. They stay."""
