"""Programs of the simulated guest that say what it is, and those that end it: uname, free, ip, uptime, shutdown, ..."""

from __future__ import annotations

import re
import time

from stratuslab.local.guest.disk import human
from stratuslab.local.guest.process import Output, Process, Refused, encoded, program
from stratuslab.local.guest.system import ARCHITECTURE, KERNEL


@program("whoami")
def whoami(process: Process) -> Output:
    yield b"root\n"
    return 0


@program("id")
def identity(process: Process) -> Output:
    options, users = process.options("ugnG")
    if users and users != ["root"]:
        raise Refused(f"unknown user {users[0]}")
    if options:
        yield b"root\n" if "n" in options else b"0\n"
    else:
        yield b"uid=0(root) gid=0(root) groups=0(root)\n"
    return 0


@program("hostname")
def hostname(process: Process) -> Output:
    options, names = process.options("fsiI")
    if names:
        if not re.fullmatch(r"[A-Za-z0-9.-]{1,63}", names[0]):
            raise Refused("sethostname: Invalid argument")
        process.guest.hostname = names[0]
    elif options.keys() & {"i", "I"}:
        yield encoded(" ".join(process.guest.addresses) + "\n")
    else:
        yield encoded(process.guest.hostname + "\n")
    return 0


@program("uname")
def uname(process: Process) -> Output:
    options, _ = process.options("asnrvmpo")
    fields = {
        "s": "Linux",
        "n": process.guest.hostname,
        "r": KERNEL,
        "v": "#1 SMP",
        "m": ARCHITECTURE,
        "p": ARCHITECTURE,
        "o": "GNU/Linux",
    }
    wanted = "snrvmo" if "a" in options else [letter for letter in fields if letter in options] or "s"
    yield encoded(" ".join(fields[letter] for letter in wanted) + "\n")
    return 0


@program("arch")
def arch(process: Process) -> Output:
    yield encoded(ARCHITECTURE + "\n")
    return 0


@program("nproc")
def nproc(process: Process) -> Output:
    yield encoded(f"{process.guest.vcpu}\n")
    return 0


@program("free")
def free(process: Process) -> Output:
    options, _ = process.options("bkmght")
    guest = process.guest

    def shown(kib: int) -> str:
        if "h" in options:
            return human(kib)
        scale = {"b": 1024.0, "m": 1 / 1024, "g": 1 / 1024**2}
        return str(int(kib * next((scale[letter] for letter in options if letter in scale), 1)))

    used = guest.used_kib
    left = guest.memory_kib - used
    yield _memory_row("", "total", "used", "free", "shared", "buff/cache", "available")
    yield _memory_row("Mem:", *map(shown, (guest.memory_kib, used, left, 0, 0, left)))
    yield _memory_row("Swap:", *map(shown, (guest.swap_kib, 0, guest.swap_kib)))
    return 0


def _memory_row(name: str, *figures: str) -> bytes:
    return encoded(f"{name:<8}" + "".join(f"{figure:>12}" for figure in figures) + "\n")


@program("ip")
def ip(process: Process) -> Output:
    words = [word for word in process.arguments if not word.startswith("-")]
    subject = words[0] if words else "addr"
    if "address".startswith(subject) or "link".startswith(subject):
        yield from _interfaces(process, addresses="address".startswith(subject))
    elif "route".startswith(subject):
        for number, address in enumerate(process.guest.addresses):
            yield encoded(f"{_network(address)} dev eth{number} scope link  src {address}\n")
    else:
        raise Refused(f'object "{subject}" is unknown; this machine has addr, link and route')
    return 0


def _interfaces(process: Process, addresses: bool) -> Output:
    yield b"1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN\n    link/loopback 00:00:00:00:00:00\n"
    if addresses:
        yield b"    inet 127.0.0.1/8 scope host lo\n"
    for number, address in enumerate(process.guest.addresses):
        yield encoded(f"{number + 2}: eth{number}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 state UP\n")
        yield encoded(f"    link/ether {process.guest.hardware_address(number)}\n")
        if addresses:
            yield encoded(f"    inet {address}/24 scope global eth{number}\n")
    return 0


def _network(address: str) -> str:
    return address.rpartition(".")[0] + ".0/24"


@program("ifconfig")
def ifconfig(process: Process) -> Output:
    for number, address in enumerate(process.guest.addresses):
        yield encoded(f"eth{number}      Link encap:Ethernet  HWaddr {process.guest.hardware_address(number).upper()}\n")
        yield encoded(f"          inet addr:{address}  Mask:255.255.255.0\n")
        yield b"          UP BROADCAST RUNNING MULTICAST  MTU:1500\n\n"
    yield b"lo        Link encap:Local Loopback\n          inet addr:127.0.0.1  Mask:255.0.0.0\n"
    yield b"          UP LOOPBACK RUNNING  MTU:65536\n"
    return 0


@program("ping")
def ping(process: Process) -> Output:
    options, names = process.options("q46", valued="ciwWs")
    if len(names) != 1:
        raise Refused("usage: ping [-c COUNT] HOST")
    guest, name = process.guest, names[0]
    address = {"localhost": "127.0.0.1", guest.hostname: next(iter(guest.addresses), "127.0.0.1")}.get(name, name)
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", address):
        raise Refused(f"bad address '{name}'")
    if address not in ("127.0.0.1", *guest.addresses):
        raise Refused("sendto: Network is unreachable", 2)
    wanted = int(options["c"]) if options.get("c", "").isdecimal() else None
    yield encoded(f"PING {name} ({address}): 56 data bytes\n")
    sent = 0
    while wanted is None or sent < wanted:
        if sent:
            process.console.pause(1)
        yield encoded(f"64 bytes from {address}: seq={sent} ttl=64 time=0.0 ms\n")
        sent += 1
    yield encoded(f"\n--- {name} ping statistics ---\n{sent} packets transmitted, {sent} packets received, 0% packet loss\n")
    return 0


@program("uptime")
def uptime(process: Process) -> Output:
    minutes = int(process.guest.uptime) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    since = f"{hours:>2}:{minutes % 60:02}" if hours or days else f"{minutes} min"
    if days:
        since = f"{days} day{'s' * (days > 1)}, {since}"
    users = len(process.guest.sessions)
    clock = time.strftime("%H:%M:%S", time.gmtime())
    yield encoded(f" {clock} up {since},  {users} user{'s' * (users != 1)},  load average: 0.00, 0.00, 0.00\n")
    return 0


@program("date")
def date(process: Process) -> Output:
    words = [word for word in process.arguments if word not in ("-u", "--utc")]
    pattern = "%a %b %e %H:%M:%S UTC %Y"
    if words == ["-R"]:
        pattern = "%a, %d %b %Y %H:%M:%S +0000"
    elif words == ["-I"]:
        pattern = "%Y-%m-%d"
    elif len(words) == 1 and words[0].startswith("+"):
        pattern = words[0][1:]
    elif words:
        raise Refused("usage: date [-u] [-R] [-I] [+FORMAT]")
    now = time.time()
    # The guest's clock runs in UTC: the zone is this computer's affair, so are its words for it.
    pattern = pattern.replace("%s", str(int(now))).replace("%Z", "UTC").replace("%z", "+0000").replace("%N", "000000000")
    yield encoded(time.strftime(pattern.encode("ascii", "replace").decode(), time.gmtime(now)) + "\n")
    return 0


@program("ps")
def ps(process: Process) -> Output:
    yield b"  PID USER     COMMAND\n"
    rows = [(1, "init"), (2, "[kthreadd]"), (120, "/usr/sbin/sshd")]
    rows += [(process.shell, "-sh"), (process.guest.next_process(), "ps")]
    for number, command in rows:
        yield encoded(f"{number:>5} root     {command}\n")
    return 0


@program("dmesg")
def dmesg(process: Process) -> Output:
    yield encoded(f"[    0.000000] Linux version {KERNEL} (simulated: no kernel runs here)\n")
    return 0


@program("sleep")
def sleep(process: Process) -> Output:
    yield from ()
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", " ".join(process.arguments))
    if match is None:
        raise Refused("usage: sleep N[smhd]")
    process.console.pause(float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])
    return 0


@program("env", "printenv")
def env(process: Process) -> Output:
    names = process.arguments if process.name == "printenv" else []
    if process.name == "env" and process.arguments:
        raise Refused("usage: env")
    for name in names:
        if name not in process.environment:
            return 1
        yield encoded(process.environment[name] + "\n")
    if not names:
        yield from (encoded(f"{name}={value}\n") for name, value in process.environment.items())
    return 0


_DELAY = re.compile(r"\+?(\d{1,6})")


@program("shutdown")
def shutdown(process: Process) -> Output:
    yield from ()
    options, rest = process.options("hHPrtkFfc")
    power = process.guest.power
    if "c" in options:
        if not power.cancel():
            raise Refused("no shutdown is planned")
        return 0
    when = rest[0] if rest else "now"
    delay = _DELAY.fullmatch(when)
    if when != "now" and delay is None:
        raise Refused(f"'{when}' is no time; give now or +MINUTES")
    if "k" not in options:
        (power.reboot if "r" in options else power.halt)(60.0 * int(delay[1]) if delay else 0.0)
    return 0


@program("halt", "poweroff")
def halt(process: Process) -> Output:
    yield from ()
    process.options("fpnwd")
    process.guest.power.halt()
    return 0


@program("reboot")
def reboot(process: Process) -> Output:
    yield from ()
    process.options("fnwd")
    process.guest.power.reboot()
    return 0


@program("init", "telinit")
def init(process: Process) -> Output:
    yield from ()
    if process.arguments == ["0"]:
        process.guest.power.halt()
    elif process.arguments == ["6"]:
        process.guest.power.reboot()
    else:
        raise Refused("this machine knows the runlevels 0 (halt) and 6 (reboot)")
    return 0
