"""The simulated guest's shell and programs, as a function of what is typed."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratuslab.local.guest.files import CAPACITY
from stratuslab.local.guest.process import decoded
from tests.local.guests import Session, disks


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("echo $USER", "root\n"),
        ("echo $USER $HOME $HOSTNAME $?", "root /root one-165 0\n"),
        ("echo '$USER' \"$USER\" \\$USER ${USER}s", "$USER root $USER roots\n"),
        ("echo a  b 'c  d'\"e f\"g", "a b c  d" + "e fg\n"),
        ("echo ${NOPE:-other} ${USER-x} [$NOPE]", "other root []\n"),
        ('A=\'x  y\'; echo $A "$A"; B=$A; echo "$B"', "x y x  y\nx  y\n"),
        ("echo one; echo two", "one\ntwo\n"),
        ("false && echo no; true && echo yes; false || echo or", "yes\nor\n"),
        ("false || true && echo both; ! false && echo not", "both\nnot\n"),
        ("nope 2>/dev/null; echo $?", "127\n"),
        ("echo $(hostname; echo x) `whoami` \"$(echo 'a  b')\"", "one-165 x root a  b\n"),
        ("echo $(echo $(echo ')'))", ")\n"),
        ("echo -n hi; echo -e 'a\\tb'", "hia\tb\n"),
        ("echo # a comment", "\n"),
        ("echo a#b; # c", "a#b\n"),
        ("echo a \\\nb", "a b\n"),
        ("echo hello | cat | wc -c", "6\n"),
        ("yes | head -2", "y\ny\n"),
        ("echo x | true; echo $?", "0\n"),
        ("seq 5 | tail -2; seq 3 -1 1 | sort -n | head -n 1", "4\n5\n1\n"),
        ("printf '%s-%3d|%-3s|\\n' a 7 b c 8 d", "a-  7|b  |\nc-  8|d  |\n"),
        ("test 1 -lt 2 && [ -d /root ] && [ ! -e /nope ] && [ a != b ] && echo ok", "ok\n"),
        ("sh -c 'echo $0 $1 $#; exit 3' name one; echo $?", "sh one 1\n3\n"),
        ("sh -c 'exit 3' || echo $?", "3\n"),
        ("cd /tmp; pwd; cd; pwd; cd - ; pwd", "/tmp\n/root\n/tmp\n"),
        ("X=1 env | grep ^X; echo [$X]; export X=2; env | grep ^X", "X=1\n[]\nX=2\n"),
        ("echo ~ ~/x '~'", "/root /root/x ~\n"),
        ("ls /etc/h*", "/etc/hostname\n/etc/hosts\n"),
        ("echo /etc/nope* '/etc/h*'", "/etc/nope* /etc/h*\n"),
        ("/bin/echo a; /usr/bin/whoami", "a\nroot\n"),
        ("echo é", "é\n"),
    ],
)
def test_shell_language(session: Session, text: str, out: str) -> None:
    assert session(text) == out
    assert session.err == ""


@pytest.mark.parametrize(
    ("text", "status", "err"),
    [
        ("nope a b", 127, "sh: nope: not found\n"),
        ("/opt/nope", 127, "sh: /opt/nope: not found\n"),
        ("exit 7", 7, ""),
        ("false; exit", 1, ""),
        ("exit abc", 2, "exit: Illegal number: abc\n"),
        ("cat /nope", 1, "cat: /nope: No such file or directory\n"),
        ("cat < /nope", 1, "sh: /nope: No such file or directory\n"),
        ("cd /nope", 2, "cd: can't cd to /nope: No such file or directory\n"),
        ("echo x > /etc", 1, "sh: /etc: Is a directory\n"),
        ("echo x > /proc/meminfo", 1, "sh: /proc/meminfo: Permission denied\n"),
        ("rm -r /", 1, "rm: /: Operation not permitted\n"),
        ("uname -Z", 2, "uname: unrecognized option: -Z\n"),
        ("echo 'open", 2, "sh: syntax error: unterminated quoted string\n"),
        ("echo a |", 2, 'sh: syntax error: nothing follows "|"\n'),
        ("echo a && && b", 2, 'sh: syntax error: unexpected "&&"\n'),
        ("(echo a)", 2, 'sh: syntax error: unexpected "("\n'),
        ("for i in 1", 2, 'sh: syntax error: no "for" in the simulated machine\'s shell\n'),
        ("sleep 1 &", 2, "sh: syntax error: no background jobs in the simulated machine's shell\n"),
        ("cat <<EOF", 2, "sh: syntax error: no here-documents in the simulated machine's shell\n"),
        ("echo ${", 2, "sh: syntax error: bad substitution\n"),
        ("echo hi >&2", 0, "hi\n"),
        ("nope 2>&1 | grep -q found", 0, ""),
        ("false", 1, ""),
        ("false | true", 0, ""),
        ("", 0, ""),
        (" ;", 2, 'sh: syntax error: unexpected ";"\n'),
    ],
)
def test_statuses_and_complaints(session: Session, text: str, status: int, err: str) -> None:
    session(text)
    assert (session.status, session.err) == (status, err)


def test_it_knows_the_instance() -> None:
    session = Session(vcpu=4, memory_mib=256, disks=disks(512, 3072), addresses=("127.101.0.9", "127.102.0.9"))
    assert session("nproc; hostname; whoami; id -u") == "4\none-165\nroot\n0\n"
    assert [line.split() for line in session("free -m").splitlines()] == [
        ["total", "used", "free", "shared", "buff/cache", "available"],
        ["Mem:", "256", "8", "248", "0", "0", "248"],
        ["Swap:", "512", "0", "512"],
    ]
    assert session("free | grep Mem").split()[1] == str(256 * 1024)
    assert session("swapon -s | tail -1").split() == ["/dev/vdb", "partition", str(512 * 1024), "0", "-2"]
    assert session("swapon --show | tail -1").split() == ["/dev/vdb", "partition", "512.0M", "0B", "-2"]
    assert session("df -h | grep vdc").split() == ["/dev/vdc", "3.0G", "0", "3.0G", "0%", "/mnt"]
    assert session("mount | grep mnt") == "/dev/vdc on /mnt type ext4 (rw)\n"
    assert "inet 127.101.0.9/24 scope global eth0" in session("ip addr")
    assert "inet addr:127.102.0.9" in session("ifconfig")
    assert session("hostname -i") == "127.101.0.9 127.102.0.9\n"
    assert session("grep -c processor /proc/cpuinfo; grep MemTotal /proc/meminfo") == "4\nMemTotal:         262144 kB\n"
    assert session("grep IMAGE_ID /etc/os-release") == 'IMAGE_ID="BN1EEkPiBx87_uLj2-sdybSI-Xb"\n'
    assert " up 0 min,  0 users,  load average: 0.00" in session("uptime")


def test_what_the_instance_has_not() -> None:
    session = Session(disks=disks(), addresses=())
    assert session("swapon --show") == ""
    assert session("free -m | grep Swap").split() == ["Swap:", "0", "0", "0"]
    assert session("df | wc -l; hostname -i") == "2\n\n"
    assert "lo:" in session("ip a")


def test_names_become_host_names() -> None:
    assert Session(name='my "Own" Übel!\n')("hostname") == "my-own-bel\n"
    assert Session(name="!!")("hostname") == "one-165\n"
    assert Session(context={"HOSTNAME": "web.example.org"})("hostname") == "web.example.org\n"


def test_hostile_image_name_stays_text() -> None:
    session = Session(image='x"; rm $(y)\nz')
    assert session("grep IMAGE_ID /etc/os-release") == 'IMAGE_ID="x__ rm __y__z"\n'


def test_nothing_of_this_computer_shows(session: Session) -> None:
    shown = "".join(
        session(text) for text in ("env", "uname -a", "cat /etc/* /proc/*", "ps", "df", "mount", "id", "find /", "dmesg")
    )
    facts = {socket.gethostname(), platform.release(), platform.version(), os.getcwd()}  # noqa: PTH109
    user = getpass.getuser()
    facts |= set() if user == "root" else {user}
    assert not [fact for fact in facts if len(fact) > 3 and fact in shown]
    assert session("ls /srv/x /home/* /etc/shadow 2>&1").count("No such file") == 3
    assert session(f"cat {__file__}") == ""


def test_files_live_as_long_as_the_guest(session: Session) -> None:
    session("mkdir -p /srv/a/b; echo one > /srv/a/x; echo two >> /srv/a/x; cp -r /srv/a /srv/c; mv /srv/c/x /srv/y")
    assert session("cat /srv/a/x /srv/y; find /srv") == (
        "one\ntwo\none\ntwo\n/srv\n/srv/a\n/srv/a/b\n/srv/a/x\n/srv/c\n/srv/c/b\n/srv/y\n"
    )
    assert session("ls -l /srv/y").startswith("-rw-r--r--    1 root     root             8 ")
    assert session("rm -r /srv/a; rmdir /srv/c/b; ls /srv") == "c\ny\n"
    session("rmdir /srv")
    assert session.err == "rmdir: /srv: Directory not empty\n"
    session("echo 'echo $1 from a script; exit 4' > /tmp/s; /tmp/s")
    assert (session.status, session.err) == (126, "sh: /tmp/s: Permission denied\n")
    assert session("chmod +x /tmp/s; sh /tmp/s hi") == "hi from a script\n"
    session("chmod 755 /tmp/s; /tmp/s")
    assert session.status == 4


def test_the_disk_is_bounded(session: Session) -> None:
    session(f"head -c {CAPACITY + 1} /dev/zero > /tmp/big")
    assert (session.status, session.err) == (1, "sh: /tmp/big: No space left on device\n")
    assert session("rm /tmp/big; df -m / | tail -1").split()[1:4] == ["32", "0", "32"]
    session("sh -c 'yes | tee /tmp/a > /tmp/b'")
    assert "No space left on device" in session.err


def test_streams_are_binary(session: Session) -> None:
    data = bytes(range(256)) * 300
    assert session.raw("cat", data) == data
    assert session("sha256sum; cat", data) == hashlib.sha256(data).hexdigest() + "  -\n"
    assert session("md5sum < /tmp/x; wc -c < /tmp/x", session.raw("cat > /tmp/x", data)).split()[-1] == str(len(data))
    assert session.raw("cat /tmp/x | cat") == data


def test_commands_share_their_input(session: Session) -> None:
    assert session("read a; head -n 1; cat; echo $a", b"one\ntwo\nthree\nfour\n") == "two\nthree\nfour\none\n"
    assert session("sh", b"echo 'a\nb'\nread x\nvalue\necho $x\nexit 5\necho never\n") == "a\nb\nvalue\n"
    assert session.status == 5


def test_power(session: Session) -> None:
    for text in (
        "shutdown -h",
        "shutdown -h now",
        "shutdown -h +2",
        "halt",
        "poweroff",
        "init 0",
        "shutdown -r",
        "reboot",
        "/sbin/reboot -f",
    ):
        assert session(text) == ""
    assert session.switch.told == [*[("halt", 0.0)] * 2, ("halt", 120.0), *[("halt", 0.0)] * 3, *[("reboot", 0.0)] * 3]
    session("shutdown -h tomorrow")
    assert (session.status, session.err) == (1, "shutdown: 'tomorrow' is no time; give now or +MINUTES\n")
    session("shutdown -c")
    assert session.status == 0


def test_time(session: Session) -> None:
    session("sleep 0.5; sleep 2m")
    assert session.slept == pytest.approx(120.5)
    assert session("date +%Y-%Z").endswith("-UTC\n")
    assert session("date +%s").strip().isdecimal()


def test_ping(session: Session) -> None:
    assert "2 packets transmitted, 2 packets received" in session("ping -c 2 127.101.0.1")
    assert session.slept == 1
    session("ping -c 1 192.0.2.1")
    assert (session.status, session.err) == (2, "ping: sendto: Network is unreachable\n")
    session("ping example.org")
    assert session.err == "ping: bad address 'example.org'\n"


def test_wc_counts_words_across_pieces(session: Session) -> None:
    data = b"alpha beta\tgamma\n delta " * 50
    assert session("wc", data).split() == ["50", "200", str(len(data))]


def test_nesting_has_an_end(session: Session) -> None:
    session("echo 'sh /tmp/s' > /tmp/s; sh /tmp/s")
    assert (session.status, session.err) == (2, "sh: shells are nested too deeply\n")
    session("eval " * 3000 + "true")
    session("echo " + "$(echo " * 200 + ")" * 200)
    assert session.status in (0, 2)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab |&;<>()$`'\"\\{}~*?[]#!=\n2/-\x00é")), max_size=40))
def test_no_text_breaks_the_shell(text: str) -> None:
    session = Session()
    session(text)
    assert 0 <= session.status <= 255


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_any_bytes_are_a_command(data: bytes) -> None:
    session = Session()
    session.raw("echo '" + decoded(data).replace("'", "") + "'")
    assert session.status in (0, 2)
