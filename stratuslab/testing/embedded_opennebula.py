"""A running OpenNebula with its address, its users and the levers of a test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from stratuslab.errors import UsageError
from stratuslab.local.api.accounts import Accounts
from stratuslab.local.api.http_server import Urls, open_server
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE, SERVER_PROFILES
from stratuslab.local.engine import lifecycle
from stratuslab.local.engine.driver_choice import VARIABLE
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import CPU_SETTING, MEMORY_SETTING
from stratuslab.local.engine.status_and_reset import reset
from stratuslab.local.machines.supervisor_processes import Supervisors
from stratuslab.local.store.stored_records import SIMULATED
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.states import Lcm, State
from stratuslab.private_files import replace
from stratuslab.python_library.connected_cloud import ConnectedCloud
from stratuslab.python_library.python_api import connect
from stratuslab.testing.call_faults import CallFault, FaultyApplication, refusal
from stratuslab.testing.steered_machines import Actors, SteeredMachines


class EmbeddedOpenNebula:
    """A running cloud: where it is, who can log in, and what a test can do to it. Threads may share it.

    ``endpoint`` is the URL of OpenNebula's XML-RPC, ``marketplace_endpoint`` that of a Marketplace with images that it can boot.
    ``users`` are passwords by name, ``username`` and ``password`` the first one's, and ``session`` both as clients of OpenNebula
    want it (``name:password``). ``directory`` has its state.
    """

    def __init__(
        self,
        urls: Urls,
        users: Mapping[str, str],
        directory: Path,
        engine: Engine,
        machines: SteeredMachines,
        faults: FaultyApplication,
    ) -> None:
        self.endpoint = urls.rpc
        self.marketplace_endpoint = urls.marketplace
        self.users = dict(users)
        self.username, self.password = next(iter(self.users.items()))
        self.directory = directory
        self._engine = engine
        self._machines = machines
        self._faults = faults

    @property
    def session(self) -> str:
        return f"{self.username}:{self.password}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables by which our commands, OpenNebula's, pyone's users and Ansible's modules find the cloud. ONE_AUTH names a
        private file in the cloud's directory."""
        auth = self.directory / "one_auth_of_user"
        replace(auth, f"{self.session}\n".encode())
        return {
            "STRATUSLAB_ENDPOINT": self.endpoint,
            "STRATUSLAB_USERNAME": self.username,
            "STRATUSLAB_PASSWORD": self.password,
            "STRATUSLAB_MARKETPLACE_ENDPOINT": self.marketplace_endpoint,
            "ONE_XMLRPC": self.endpoint,
            "ONE_AUTH": str(auth),
            "ONE_URL": self.endpoint,
            "ONE_USERNAME": self.username,
            "ONE_PASSWORD": self.password,
        }

    def connect(self, username: str = "") -> ConnectedCloud:
        """The cloud for a program with this library, as the first user or another one."""
        name = username or self.username
        return connect(self.endpoint, username=name, password=self.users[name], marketplace_endpoint=self.marketplace_endpoint)

    @property
    def calls(self) -> list[str]:
        """The methods that were called so far, in order."""
        return list(self._faults.calls)

    def fail(self, method: str = "", message: str = "over quota", *, code: int = ErrorCode.ALLOCATE, times: int = 1) -> None:
        """Refuse the next calls of a method (any method if empty) with OpenNebula's error code and a message."""
        self._faults.add(method, refusal(message, code), times)

    def lose_answer(self, method: str = "", *, times: int = 1) -> None:
        """Carry the next calls out, and close the connection without an answer."""
        self._faults.add(method, CallFault(loses=True), times)

    def ignore(self, method: str = "", *, times: int = 1) -> None:
        """Do nothing for the next calls, and close the connection without an answer."""
        self._faults.add(method, CallFault(loses=True, ignores=True), times)

    def delay(self, method: str = "", seconds: float = 1.0, *, times: int = 1) -> None:
        """Answer the next calls so many seconds later."""
        self._faults.add(method, CallFault(delay=seconds), times)

    def capacity(self, cpu: float, memory_mib: int) -> None:
        """Set the CPUs and the memory of the host: what does not fit stays pending."""
        self._engine.store.set_setting(CPU_SETTING, str(cpu))
        self._engine.store.set_setting(MEMORY_SETTING, str(memory_mib))
        self._engine.reconciler.reconcile()

    def move(self, number: int, state: str, message: str = "") -> None:
        """Put a machine into a state, by OpenNebula's name for its STATE or LCM_STATE (``"running"``, ``"boot_failure"``,
        ``"poweroff"``, ``"unknown"``, ``"done"``), where it stays until somebody acts on it. Its process, if it has one, is
        killed. ``message`` is the cloud's error.

        Raises ValueError for an unknown state, and for ``"pending"``, which :meth:`capacity` brings about; NotFound.
        """
        name = state.upper()
        if name == "PENDING" or not (name in Lcm.__members__ or name in State.__members__):
            raise ValueError(f"cannot move a machine to {state!r}")
        engine = self._engine
        engine.machine(number)  # NotFound
        engine.reconciler.kill(number)
        with engine.store.changing(number) as record:
            assert record is not None
            if name == "DONE":
                lifecycle.done(record, engine.now)
            elif name in Lcm.__members__:
                if not record.history:
                    lifecycle.placed(record, engine.now)
                if Lcm[name] is Lcm.RUNNING and not record.history[-1]["rstime"]:
                    record.history[-1].update(rstime=engine.now)
                record.enter(Lcm[name])
                self._machines.held.add(number)
            else:
                record.leave_active(State[name])
            if message:
                record.message, record.message_time = message, engine.now


@contextmanager
def embedded_cloud(
    flavour: str = DEFAULT_PROFILE.name,
    users: Mapping[str, str] | None = None,
    *,
    machines: str = "simulated",
    directory: str | os.PathLike[str] | None = None,
) -> Iterator[EmbeddedOpenNebula]:
    """Serve an OpenNebula while the block runs; at its end its machines are killed.

    ``flavour`` is the server to behave like: ``opennebula-7``, ``-6``, ``-5``, ``-4`` or ``stratuslab-3``. ``users`` are
    passwords by name (default: ``alice`` with ``secret``). ``machines`` are ``"simulated"``, processes that get to running by
    themselves and answer by SSH, or ``"acted"``: without a process, they stay in the prolog until the test moves them. The state
    is in a temporary folder, or in ``directory``. Raises UsageError.
    """
    if flavour not in SERVER_PROFILES:
        raise UsageError(f'unknown flavour "{flavour}"', f"available: {', '.join(SERVER_PROFILES)}")
    if machines not in ("simulated", "acted"):
        raise UsageError(f'unknown machines "{machines}"', "simulated or acted")
    known = dict(users or {"alice": "secret"})
    with TemporaryDirectory(prefix="stratuslab-testing-") as temporary, ExitStack() as ending:
        place = Path(directory or temporary).absolute()
        environ = {**os.environ, VARIABLE: SIMULATED}
        steered = SteeredMachines(Supervisors(place, environ) if machines == "simulated" else Actors())
        engine = ending.enter_context(closing(Engine(place, steered, time.time, environ)))
        ending.callback(reset, engine)
        profile = SERVER_PROFILES[flavour]
        server = open_server(engine, "127.0.0.1", 0, Accounts(known), profile)
        faults = FaultyApplication(server.respond, profile)
        server.respond = faults.respond
        urls = ending.enter_context(server.running())
        ending.callback(faults.ended.set)
        yield EmbeddedOpenNebula(urls, known, place, engine, steered, faults)
