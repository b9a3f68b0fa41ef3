"""VM documents as servers of several versions write them."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

from stratuslab.opennebula.instance import Instance

BEGIN = 1_795_329_549
"""Sun Nov 22 06:39:09 2026 UTC: when the instances of these documents were asked for."""

SECRETS = ("hunter2", "correct-horse", "vnc-pass", "Zm9vYmFy", "c2VjcmV0IHNjcmlwdA", "MIIEvQIBADAN")
"""What stands in the documents and must never be shown."""

_TEMPLATE = """
<CPU><![CDATA[0.5]]></CPU><MEMORY><![CDATA[256]]></MEMORY><VCPU><![CDATA[2]]></VCPU>
<CONTEXT><DB_PASSWORD><![CDATA[hunter2]]></DB_PASSWORD><CLOUD_INIT_USER_DATA><![CDATA[Zm9vYmFy]]></CLOUD_INIT_USER_DATA>
<START_SCRIPT_BASE64><![CDATA[c2VjcmV0IHNjcmlwdA==]]></START_SCRIPT_BASE64>
<DEPLOY_KEY><![CDATA[-----BEGIN PRIVATE KEY-----
MIIEvQIBADAN
-----END PRIVATE KEY-----]]></DEPLOY_KEY>
<SCRIPT_EXEC><![CDATA[mount --password=correct-horse //files]]></SCRIPT_EXEC>
<SSH_PUBLIC_KEY><![CDATA[ssh-ed25519 AAAAC3Nz user@example.org]]></SSH_PUBLIC_KEY></CONTEXT>
<DISK><DISK_ID>0</DISK_ID><IMAGE>ttylinux</IMAGE><IMAGE_ID>0</IMAGE_ID><SIZE>1024</SIZE><TARGET>sda</TARGET>
<TYPE>FILE</TYPE></DISK>
<DISK><DISK_ID>1</DISK_ID><SIZE>512</SIZE><TARGET>sdb</TARGET><TYPE>swap</TYPE></DISK>
<DISK><DISK_ID>2</DISK_ID><SIZE>2048</SIZE><TARGET>sdc</TARGET><TYPE>fs</TYPE></DISK>
<DISK><DISK_ID>3</DISK_ID><SOURCE>pdisk:pdisk.example.org:8445:0b6a5dd3</SOURCE><TARGET>sdd</TARGET></DISK>
<GRAPHICS><PASSWD>vnc-pass</PASSWD><PORT>5902</PORT></GRAPHICS>
<NIC><IP>134.158.75.202</IP><NETWORK>public</NETWORK></NIC>
"""


def vm(
    state: int,
    lcm_state: int = 0,
    message: str = "",
    *,
    waits: str = "",
    legacy: bool = False,
    history: str | None = None,
    monitored: int = 0,
    ended: int = 0,
) -> Instance:
    """An instance in a state; ``history`` is the inside of its HISTORY records, and one that ran for a while by default."""
    error = escape(message)
    if legacy:
        broken = f"<ERROR><MESSAGE>{error}</MESSAGE><TIMESTAMP>Sun Nov 22 06:39:10 2026</TIMESTAMP></ERROR>" if message else ""
        template, user_template = _TEMPLATE + broken, ""
    else:
        told = f"<ERROR>{error}</ERROR>" if message else ""
        told += f"<SCHED_MESSAGE>{escape(waits)}</SCHED_MESSAGE>" if waits else ""
        template, user_template = _TEMPLATE, f"<USER_TEMPLATE>{told}</USER_TEMPLATE>"
    if history is None:
        history = stay("node2", BEGIN + 60, prolog=(BEGIN + 60, BEGIN + 120), running=(BEGIN + 120, BEGIN + 180))
    polled = f"<CPU>12</CPU><MEMORY>262144</MEMORY><TIMESTAMP>{monitored}</TIMESTAMP>" if monitored else ""
    return Instance(
        fromstring(
            f"<VM><ID>42</ID><UID>2</UID><GID>1</GID><UNAME>alice</UNAME><GNAME>users</GNAME><NAME>one-42</NAME>"
            f"<STATE>{state}</STATE><LCM_STATE>{lcm_state}</LCM_STATE><STIME>{BEGIN}</STIME><ETIME>{ended}</ETIME>"
            f"<MONITORING>{polled}</MONITORING><TEMPLATE>{template}</TEMPLATE>{user_template}"
            f"<HISTORY_RECORDS>{history}</HISTORY_RECORDS></VM>"
        )
    )


def stay(
    host: str,
    begin: int,
    *,
    prolog: tuple[int, int] = (0, 0),
    running: tuple[int, int] = (0, 0),
    epilog: tuple[int, int] = (0, 0),
    end: int = 0,
) -> str:
    """A HISTORY record."""
    times = zip(("PSTIME", "PETIME", "RSTIME", "RETIME", "ESTIME", "EETIME"), (*prolog, *running, *epilog), strict=True)
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in times)
    return f"<HISTORY><HOSTNAME>{host}</HOSTNAME><STIME>{begin}</STIME><ETIME>{end}</ETIME>{inner}</HISTORY>"
