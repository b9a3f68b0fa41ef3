"""The XML-RPC methods of the embedded cloud: each reads its parameters, asks the engine and writes a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from stratuslab.local import documents, introspection, machine_templates, pools, releases, rpc, wording
from stratuslab.local.engine import Engine
from stratuslab.local.flavours import Flavour
from stratuslab.local.record import Record, User
from stratuslab.local.refusal import Refusal, Unsupported
from stratuslab.local.rpc import Parameters, RpcFault
from stratuslab.opennebula.numbers import ErrorCode, FaultCode, PoolState


@dataclass(frozen=True)
class Call:
    """One call: by whom, of which server's kind, with what. Parameter 0 is the session and was dealt with."""

    engine: Engine
    user: User
    flavour: Flavour
    parameters: Parameters


Answer = Iterator[bytes]
Authenticate = Callable[[str], "User | None"]


def answer(engine: Engine, authenticate: Authenticate, body: bytes, flavour: Flavour) -> Answer:
    """The answer to a call, in pieces. ``authenticate`` gives the user for a session string, None where it knows none.

    Raises StratusLabError where the store cannot be used.
    """
    try:
        name, parameters = rpc.read_call(body)
        if introspection.is_own(name):
            methods = [method for method in _METHODS if flavour.number >= _SINCE.get(method, ())]
            return introspection.answer(name, parameters, methods, lambda call: answer(engine, authenticate, call, flavour))
        method = _METHODS.get(name)
        if method is None or flavour.number < _SINCE.get(name, ()):
            raise RpcFault(FaultCode.NO_SUCH_METHOD, f"Method '{name}' not defined")
        session = parameters.text(0)
        try:
            user = authenticate(session)
            if user is None:
                raise Refusal(ErrorCode.AUTHENTICATION, "User couldn't be authenticated, aborting call.")
            return method(Call(engine, user, flavour, parameters))
        except Refusal as refusal:
            return rpc.failure(refusal, name, flavour)
    except RpcFault as fault:
        return rpc.fault(fault)


def _version(call: Call) -> Answer:
    return rpc.document([call.flavour.version])


def _allocate(call: Call) -> Answer:
    return _allocated(call, call.parameters.text(1), call.parameters.flag(2, False))


def _instantiate(call: Call) -> Answer:
    base, name = machine_templates.find(call.parameters.integer(1)), call.parameters.text(2)
    hold, over = False, ""
    if call.flavour.number >= (4,):
        hold, over = call.parameters.flag(3, False), call.parameters.text(4, "")
        if call.parameters.flag(5, False):
            raise Refusal(ErrorCode.ACTION, "This cloud makes no persistent copies of a template's images.")
    return _allocated(call, machine_templates.instantiated(base, name, over), hold)


def _allocated(call: Call, template: str, hold: bool) -> Answer:
    try:
        return rpc.number(call.engine.allocate(call.user, template, hold, call.flavour.rules))
    except Refusal as refusal:
        raise wording.allocation(refusal, call.flavour, call.user) from None


def _info(call: Call) -> Answer:
    record = call.engine.instance(call.user, call.parameters.integer(1))
    return rpc.document([documents.instance(record, call.flavour)])


def _action(call: Call) -> Answer:
    name, number = call.parameters.text(1), call.parameters.integer(2)
    verb = call.flavour.actions.get(call.flavour.aliases.get(name, name))
    try:
        if name in call.flavour.administrators_only:
            call.engine.require_administrator(call.user, number)
        if verb is None:
            call.engine.instance(call.user, number, "MANAGE")
            raise Unsupported(name)
        call.engine.act(call.user, number, verb)
    except Refusal as refusal:
        raise wording.action(refusal, call.flavour, name, number) from None
    return rpc.number(number)


def _rename(call: Call) -> Answer:
    number, name = call.parameters.integer(1), call.parameters.text(2)
    call.engine.rename(call.user, number, name)
    return rpc.number(number)


def _update(call: Call) -> Answer:
    number, template, merge = call.parameters.integer(1), call.parameters.text(2), call.parameters.integer(3, 0)
    call.engine.update(call.user, number, template, merge=merge == 1)
    return rpc.number(number)


def _pool(call: Call) -> Answer:
    return _instances(call, documents.pooled_instance)


def _extended_pool(call: Call) -> Answer:
    return _instances(call, documents.extended_instance)


def _instances(call: Call, write: Callable[..., str]) -> Answer:
    owner, start, end, state = (call.parameters.integer(place) for place in range(1, 5))
    if call.flavour.number >= _SEARCHES and call.parameters.text(5, ""):
        raise Refusal(ErrorCode.INTERNAL, "Full text search is not supported by the SQL backend")
    records = call.engine.pool(
        call.user,
        owner,
        start,
        end,
        state,
        legacy_states=call.flavour.legacy,
        newest_first=call.flavour.newest_first,
        pages=call.flavour.pages,
    )
    return rpc.document(chain(["<VM_POOL>"], (write(record, call.flavour) for record in records), ["</VM_POOL>"]))


def _set(call: Call) -> Answer:
    try:
        numbers = [int(text) for text in call.parameters.text(1).split(",") if text.strip()]
    except ValueError:
        raise Refusal(ErrorCode.API, "Incorrect list of ids") from None
    write = documents.extended_instance if call.parameters.flag(2, False) else documents.pooled_instance
    found = (write(record, call.flavour) for record in call.engine.named(call.user, numbers))
    return rpc.document(chain(["<VM_POOL>"], found, ["</VM_POOL>"]))


def _pool_monitoring(call: Call) -> Answer:
    """Of each instance what was reported last: one report is kept, so that it is also all of them."""
    owner, seconds = call.parameters.integer(1), call.parameters.integer(2, -1)
    records = call.engine.pool(call.user, owner, -1, -1, PoolState.ANY, newest_first=False)
    return _reports(call, records, seconds if call.flavour.number >= (5, 12) else -1)


def _monitoring(call: Call) -> Answer:
    return _reports(call, [call.engine.instance(call.user, call.parameters.integer(1))])


def _reports(call: Call, records: Iterable[Record], seconds: int = -1) -> Answer:
    since = call.engine.now - seconds if seconds > 0 else 0
    reports = (documents.monitoring(record, call.flavour) for record in records if record.polled > since)
    return rpc.document(chain(["<MONITORING_DATA>"], reports, ["</MONITORING_DATA>"]))


def _chmod(call: Call) -> Answer:
    number = call.parameters.integer(1)
    call.engine.permit(call.user, number, [call.parameters.integer(place) for place in range(2, 11)])
    return rpc.number(number)


def _lock(call: Call) -> Answer:
    number = call.parameters.integer(1)
    call.engine.lock(call.user, number, call.parameters.integer(2))
    return rpc.number(number)


def _unlock(call: Call) -> Answer:
    number = call.parameters.integer(1)
    call.engine.unlock(call.user, number)
    return rpc.number(number)


def _login(call: Call) -> Answer:
    name, token, seconds = call.parameters.text(1), call.parameters.text(2), call.parameters.integer(3)
    user = call.user
    if name != user.name:
        if not user.is_administrator:
            raise Refusal(ErrorCode.AUTHORIZATION, f"User [{user.id}] : Not authorized to perform MANAGE USER [{name}].")
        user = call.engine.user(name)
    return rpc.document([call.engine.login(user, token, seconds)])


def _of_pool(write: Callable[[Engine], str]) -> Callable[[Call], Answer]:
    return lambda call: rpc.document([releases.document_of(write(call.engine), call.flavour.number)])


def _of_number(write: Callable[[Engine, int], str]) -> Callable[[Call], Answer]:
    return lambda call: rpc.document([releases.document_of(write(call.engine, call.parameters.integer(1)), call.flavour.number)])


def _network(call: Call) -> Answer:
    return rpc.document([pools.network(call.engine, call.parameters.integer(1), legacy=call.flavour.legacy)])


def _seen_by_user(write: Callable[[Engine, User], str]) -> Callable[[Call], Answer]:
    return lambda call: rpc.document([write(call.engine, call.user)])


def _number_seen_by_user(write: Callable[[Engine, User, int], str]) -> Callable[[Call], Answer]:
    return lambda call: rpc.document([write(call.engine, call.user, call.parameters.integer(1))])


_SEARCHES = (5, 8)
_SINCE = {
    "one.system.version": (4,),
    "one.vm.monitoring": (4,),
    "one.vm.rename": (4,),
    "one.vm.update": (4,),
    "one.vm.lock": (5, 4),
    "one.vm.unlock": (5, 4),
    "one.user.login": (4, 6),
    "one.vmpool.monitoring": (4,),
    "one.vmpool.infoextended": (5, 8, 1),
    "one.vmpool.infoset": (5, 12, 0, 1),
    "one.cluster.info": (3, 4),
    "one.clusterpool.info": (3, 4),
    "one.datastore.info": (3, 4),
    "one.datastorepool.info": (3, 4),
}
"""The releases from which on there are methods that were not always there."""

_METHODS: dict[str, Callable[[Call], Answer]] = {
    "one.system.version": _version,
    "one.vm.allocate": _allocate,
    "one.vm.info": _info,
    "one.vm.action": _action,
    "one.vm.rename": _rename,
    "one.vm.update": _update,
    "one.vm.chmod": _chmod,
    "one.vm.lock": _lock,
    "one.vm.unlock": _unlock,
    "one.user.login": _login,
    "one.vmpool.info": _pool,
    "one.vmpool.infoextended": _extended_pool,
    "one.vmpool.infoset": _set,
    "one.vmpool.monitoring": _pool_monitoring,
    "one.vm.monitoring": _monitoring,
    "one.imagepool.info": _of_pool(pools.images),
    "one.image.info": _of_number(pools.image),
    "one.vnpool.info": _of_pool(pools.networks),
    "one.vn.info": _network,
    "one.templatepool.info": _of_pool(pools.templates),
    "one.template.info": _of_number(pools.template),
    "one.template.instantiate": _instantiate,
    "one.hostpool.info": _of_pool(pools.hosts),
    "one.host.info": _of_number(pools.host),
    "one.datastorepool.info": _of_pool(pools.datastores),
    "one.datastore.info": _of_number(pools.datastore),
    "one.clusterpool.info": _of_pool(pools.clusters),
    "one.cluster.info": _of_number(pools.cluster),
    "one.userpool.info": _seen_by_user(pools.users),
    "one.user.info": _number_seen_by_user(pools.user),
    "one.grouppool.info": _seen_by_user(pools.groups),
    "one.group.info": _number_seen_by_user(pools.group),
}
