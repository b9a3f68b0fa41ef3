"""What can be done to an instance: what each version calls it, and what an instance's state allows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from stratuslab.cloud import reply
from stratuslab.cloud.rpc_caller import Caller
from stratuslab.cloud.version_differences import ServerVersion
from stratuslab.errors import InstanceFailed, NotFound, PermissionDenied, StratusLabError
from stratuslab.opennebula.instance import LABELS_ATTRIBUTE, Instance
from stratuslab.opennebula.states import Lcm, Phase, State, state_label
from stratuslab.opennebula.template_grammar import quote

LOOKS = (0.2, 1.0, 2.0, 4.0)
"""Seconds before each look for what became of a call whose answer was lost."""

_KILL_RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between attempts
# How servers refuse an unknown action (3.x the second way), and one that the machine's state does not allow.
_UNKNOWN_ACTION = re.compile(r"not supported|action result not defined", re.IGNORECASE)
_WRONG_STATE = re.compile(r"wrong state|not available for state", re.IGNORECASE)
_OFF = (state_label(State.POWEROFF, None), state_label(State.ACTIVE, Lcm.SHUTDOWN_POWEROFF))
_MERGE = 1  # one.vm.update: keep the attributes that are not given


class InstanceActions:
    """The part of a cloud's client that looks at one instance and changes it.

    Every method raises NotFound. What ends an instance, stops, starts or reboots it does nothing if that is done, or on its way,
    returns before it is done, and raises InstanceFailed in a state that does not allow it.
    """

    def __init__(self, caller: Caller, sleep: Callable[[float], None]) -> None:
        self._caller = caller
        self._sleep = sleep

    @property
    def server(self) -> ServerVersion:
        """The server's version."""
        return self._caller.server

    def instance(self, number: int) -> Instance:
        """One instance."""
        try:
            return Instance(self._caller.document("VM", "one.vm.info", number))
        except NotFound as error:
            raise self._no_instance(number, error) from None

    def kill(self, number: int) -> None:
        """Stop an instance at once and release its resources.

        OpenNebula 5 and later do not kill a machine in its prolog, or while it boots, is saved or powered off: this method
        waits up to 15 seconds for that.
        """
        hint = "try again later"
        if self.server.number >= (5,):  # up to 4.x a machine can be killed in every state, and recover cannot delete
            hint += f'; if that does not help, an administrator can run "onevm recover --delete {number}"'
        self._do(number, "kill", self.server.kill_actions, _killed, hint, _KILL_RETRIES)

    def shut_down(self, number: int) -> None:
        """Ask an instance to stop cleanly and release its resources. Which states allow that depends on the server's version."""
        hint = f"try again later, or kill it: stratus-kill-instance {number}"
        self._do(number, "shut down", self.server.shutdown_actions, _shut_down, hint)

    def stop(self, number: int, *, hard: bool = False) -> None:
        """Power an instance off; it keeps its disks and addresses. ``hard`` does not ask the guest."""
        self._do(number, "stop", ("poweroff-hard",) if hard else ("poweroff",), lambda one: one.state_label in _OFF)

    def start(self, number: int) -> None:
        """Start an instance that is powered off, suspended, stopped, or not seen by its host."""
        *others, last = self.server.start_actions
        for action in others:
            with contextlib.suppress(reply.Refused):
                self._act(number, "start", (action,), _runs)
                return
        self._do(number, "start", (last,), _runs)

    def reboot(self, number: int, *, hard: bool = False) -> None:
        """Ask the guest of an instance to reboot, or reset it (``hard``)."""
        # 3.8 has the second name.
        self._do(number, "reboot", ("reboot-hard", "reset") if hard else ("reboot",), lambda one: False)

    def _do(
        self,
        number: int,
        what: str,
        actions: Iterable[str],
        is_there: Callable[[Instance], bool],
        hint: str = "",
        pauses: Sequence[float] = (),
    ) -> None:
        """Do an action, and again after each of the ``pauses`` if the instance's state does not allow it, unless the instance
        ``is_there``, as after an earlier request whose answer was lost."""
        for pause in (*pauses, None):
            try:
                self._act(number, what, actions, is_there)
                return
            except reply.Refused as error:
                if not _WRONG_STATE.search(error.message):
                    raise
                try:
                    instance = self.instance(number)
                except NotFound:
                    raise
                except StratusLabError:
                    instance = None
                if instance is not None and is_there(instance):
                    return
                if pause is None:
                    # The state, which the server's message may lack.
                    now = f"now: {error.message}" if instance is None else f"while it is {instance.state_label}"
                    remedy = hint or _remedy(instance, what)
                    raise InstanceFailed(f"cannot {what} machine {number} {now}", remedy) from None
            self._sleep(pause)

    def rename(self, number: int, name: str) -> None:
        """Give an instance another name. Raises Refused if the cloud does not accept it."""
        self._change(number, lambda: self._caller.text("one.vm.rename", number, name), lambda one: one.name == name)

    def set_labels(self, number: int, labels: Iterable[str]) -> None:
        """Replace the labels of an instance."""
        wanted = tuple(labels)
        text = f"{LABELS_ATTRIBUTE} = {quote(','.join(wanted), LABELS_ATTRIBUTE)}"
        self._change(number, lambda: self._caller.text("one.vm.update", number, text, _MERGE), lambda one: one.labels == wanted)

    def _change(self, number: int, call: Callable[[], object], is_there: Callable[[Instance], bool]) -> None:
        """Make a call that is new in 4.0 and needs the right to manage the instance."""
        if self.server.number < (4,):
            raise StratusLabError(f"{self._caller.cloud} cannot change the name or labels of a machine: it needs OpenNebula 4")
        self._surely(number, call, is_there)

    def _act(self, number: int, what: str, actions: Iterable[str], is_there: Callable[[Instance], bool]) -> None:
        """Do the first of the actions that the server supports. ``is_there`` tells an instance to which it was done."""
        unsupported: StratusLabError | None = None
        for action in actions:
            try:
                self._surely(number, partial(self._caller.text, "one.vm.action", action, number), is_there)
                return
            except reply.Refused as error:
                if not _UNKNOWN_ACTION.search(error.message):
                    raise
                unsupported = unsupported or error
        assert unsupported is not None
        raise unsupported.replaced(f"{self._caller.cloud} cannot {what} machines: {unsupported.message}")

    def _surely(self, number: int, call: Callable[[], object], is_there: Callable[[Instance], bool]) -> None:
        """Make a call. If anything but the cloud's own answer comes back, look whether the instance ``is_there``."""
        try:
            call()
            return
        except StratusLabError as error:
            if error.nothing_done:
                raise self._explained(number, error) from None
            lost = error
        for pause in LOOKS:
            self._sleep(pause)
            instance = self._look(number)
            if instance is not None and is_there(instance):
                return
        raise lost.replaced(
            f"{lost.message}; whether it was done to machine {number} is not known", f"stratus-describe-instance {number}"
        )

    def _look(self, number: int) -> Instance | None:
        """The instance, if the cloud shows it."""
        with contextlib.suppress(StratusLabError):
            return self.instance(number)
        return None

    def _explained(self, number: int, error: StratusLabError) -> StratusLabError:
        """The error, with the machine's lock if that is the reason: the server's message does not mention it."""
        if isinstance(error, NotFound):
            return self._no_instance(number, error)
        lock = instance.lock if isinstance(error, PermissionDenied) and (instance := self._look(number)) else None
        if lock is None:
            return error
        by = "" if lock.owner_id is None else f" by user {lock.owner_id}"
        return PermissionDenied(f"machine {number} is locked{by}: {error.message}", f"unlock it with onevm unlock {number}")

    def _no_instance(self, number: int, error: NotFound) -> NotFound:
        return NotFound(f"no machine {number} at {self._caller.cloud}: {error.message}")


def _killed(instance: Instance) -> bool:
    return instance.done or (instance.state == State.ACTIVE and instance.lcm_state in (Lcm.EPILOG, Lcm.CLEANUP_DELETE))


def _shut_down(instance: Instance) -> bool:
    return _killed(instance) or (instance.state == State.ACTIVE and instance.lcm_state == Lcm.SHUTDOWN)


def _runs(instance: Instance) -> bool:
    return instance.phase <= Phase.UP


def _remedy(instance: Instance | None, what: str) -> str:
    """What can be done with an instance whose state does not allow to stop, start or reboot it."""
    if instance is None:
        return "try again later"
    if instance.done:
        return "stratus-run-instance starts a new one"
    if instance.failed:
        return f"stratus-describe-instance -v {instance.id} says why; kill it: stratus-kill-instance {instance.id}"
    if instance.phase is Phase.AWAY and what != "start":
        return f"start it: stratus-start-instance {instance.id}"
    return "try again later"
