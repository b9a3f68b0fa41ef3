"""The XML-RPC methods of the embedded cloud: each reads its parameters, calls the engine and writes a document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from stratuslab.local.api import older_error_wording, ready_templates, xmlrpc_introspection, xmlrpc_wire
from stratuslab.local.api.documents import vm_documents
from stratuslab.local.api.documents.element_tables import pool
from stratuslab.local.api.documents.image_documents import images
from stratuslab.local.api.documents.infrastructure_documents import clusters, datastores, hosts
from stratuslab.local.api.documents.network_documents import networks
from stratuslab.local.api.documents.template_documents import templates
from stratuslab.local.api.documents.user_documents import groups, users
from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.api.xmlrpc_wire import Parameters, RpcFault
from stratuslab.local.api_error import APIError, Unsupported, no_such, not_authenticated
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import Record, User
from stratuslab.opennebula.error_codes import ErrorCode, FaultCode
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, PoolState


class MethodCall(NamedTuple):
    """One call by an authenticated user. Parameter 0 is the session string."""

    engine: Engine
    user: User
    profile: ServerProfile
    parameters: Parameters


Answer = Iterator[bytes]
Authenticate = Callable[[str], "User | None"]
Documents = Callable[..., Sequence[str]]


def answer(engine: Engine, authenticate: Authenticate, body: Iterable[bytes], profile: ServerProfile) -> Answer:
    """The answer to a call, in pieces. ``authenticate`` returns the user for a session string, or None.

    Raises StratusLabError if the store cannot be used.
    """
    try:
        return _run(engine, authenticate, profile, *xmlrpc_wire.read_call(body))
    except RpcFault as fault:
        return xmlrpc_wire.fault(fault)


def _run(engine: Engine, authenticate: Authenticate, profile: ServerProfile, name: str, parameters: Parameters) -> Answer:
    if name in xmlrpc_introspection.NAMES:
        signatures = {known: method.signature for known, method in _METHODS.items() if profile.number >= method.since}
        return xmlrpc_introspection.answer(name, parameters, signatures, partial(_run, engine, authenticate, profile))
    method = _METHODS.get(name)
    if method is None or profile.number < method.since:
        raise RpcFault(FaultCode.NO_SUCH_METHOD, f"Method '{name}' not defined")
    session = parameters.text(0)
    try:
        user = authenticate(session)
        if user is None:
            raise not_authenticated()
        return method.answer(MethodCall(engine, user, profile, parameters))
    except APIError as refusal:
        return xmlrpc_wire.failure(refusal, name, profile)


def _instantiate(call: MethodCall) -> Answer:
    number, name = call.parameters.integer(1), call.parameters.text(2)
    base = ready_templates.find(number)
    hold, over = False, ""
    if call.profile.number >= (4,):
        hold, over = call.parameters.flag(3, False), call.parameters.text(4, "")
        if call.parameters.flag(5, False):
            raise APIError(ErrorCode.ACTION, "This cloud makes no persistent copies of a template's images.")
    return _allocated(call, ready_templates.instantiated(base, name, over), hold)


def _allocated(call: MethodCall, template: str, hold: bool) -> Answer:
    try:
        return xmlrpc_wire.number(call.engine.allocate(call.user, template, hold, call.profile.rules))
    except APIError as refusal:
        raise older_error_wording.allocation(refusal, call.profile, call.user) from None


def _info(call: MethodCall) -> Answer:
    record = call.engine.instance(call.user, call.parameters.integer(1))
    return xmlrpc_wire.document([vm_documents.instance(record, call.profile)])


def _action(call: MethodCall) -> Answer:
    name, number = call.parameters.text(1), call.parameters.integer(2)
    verb = call.profile.actions.get(call.profile.aliases.get(name, name))
    try:
        if name in ("delete", "delete-recreate") and call.profile.release >= 6:  # it has them no more, but checks their rights
            call.engine.access.require_administrator(call.user, number)
        if verb is None:
            call.engine.instance(call.user, number, "MANAGE")
            raise Unsupported(ErrorCode.ACTION, f'Action "{name}" is not supported')
        call.engine.act(call.user, number, verb)
    except APIError as refusal:
        raise older_error_wording.action(refusal, call.profile, name, number) from None
    return xmlrpc_wire.number(number)


def _rename(call: MethodCall) -> Answer:
    number, name = call.parameters.integer(1), call.parameters.text(2)
    call.engine.rename(call.user, number, name)
    return xmlrpc_wire.number(number)


def _update(call: MethodCall) -> Answer:
    number, template, merge = call.parameters.integer(1), call.parameters.text(2), call.parameters.integer(3, 0)
    if merge not in (0, 1):
        raise APIError(ErrorCode.API, "Wrong update type")
    call.engine.update(call.user, number, template, merge=merge == 1)
    return xmlrpc_wire.number(number)


def _instances(write: Callable[[Record, ServerProfile], str], call: MethodCall) -> Answer:
    owner, start, end, state = (call.parameters.integer(place) for place in range(1, 5))
    if call.profile.number >= (5, 8) and call.parameters.text(5, ""):
        raise APIError(ErrorCode.INTERNAL, "Full text search is not supported by the SQL backend")
    profile = call.profile
    newest_first = profile.release >= 5
    records = call.engine.pool(call.user, owner, start, end, state, legacy=profile.legacy, newest_first=newest_first)
    return xmlrpc_wire.document(chain(["<VM_POOL>"], (write(record, profile) for record in records), ["</VM_POOL>"]))


def _set(call: MethodCall) -> Answer:
    try:
        numbers = [int(text) for text in call.parameters.text(1).split(",") if text.strip()]
    except ValueError:
        raise APIError(ErrorCode.API, "Incorrect list of ids") from None
    numbers = [number for number in numbers if 0 <= number <= LARGEST_ID]
    write = vm_documents.extended_instance if call.parameters.flag(2, False) else vm_documents.pooled_instance
    found = (write(record, call.profile) for record in call.engine.named(call.user, numbers))
    return xmlrpc_wire.document(chain(["<VM_POOL>"], found, ["</VM_POOL>"]))


def _pool_monitoring(call: MethodCall) -> Answer:
    """The last report of each instance, as only that is kept."""
    owner, seconds = call.parameters.integer(1), call.parameters.integer(2, -1)
    records = call.engine.pool(call.user, owner, -1, -1, PoolState.ANY, newest_first=False)
    return _reports(call, records, seconds if call.profile.number >= (5, 12) else -1)


def _reports(call: MethodCall, records: Iterable[Record], seconds: int = -1) -> Answer:
    since = call.engine.now - seconds if seconds > 0 else 0
    reports = (vm_documents.monitoring(record, call.profile) for record in records if record.polled > since)
    return xmlrpc_wire.document(chain(["<MONITORING_DATA>"], reports, ["</MONITORING_DATA>"]))


def _chmod(call: MethodCall) -> Answer:
    number = call.parameters.integer(1)
    call.engine.access.chmod(call.user, number, [call.parameters.integer(place) for place in range(2, 11)])
    return xmlrpc_wire.number(number)


def _lock(call: MethodCall) -> Answer:
    number, level = call.parameters.integer(1), call.parameters.integer(2)
    if call.profile.number >= (6,):
        if not 1 <= level <= 4:
            raise APIError(ErrorCode.ACTION, "Wrong lock level specified")
        level = 1 if level == 4 else level
    call.engine.access.lock(call.user, number, level)
    return xmlrpc_wire.number(number)


def _unlock(call: MethodCall) -> Answer:
    number = call.parameters.integer(1)
    call.engine.access.unlock(call.user, number)
    return xmlrpc_wire.number(number)


def _login(call: MethodCall) -> Answer:
    name, token, seconds = call.parameters.text(1), call.parameters.text(2), call.parameters.integer(3)
    user = call.user
    if name != user.name:
        if not user.is_administrator:
            raise APIError(ErrorCode.AUTHORIZATION, f"User [{user.id}] : Not authorized to perform MANAGE USER [{name}].")
        user = call.engine.user(name)
    return xmlrpc_wire.document([call.engine.access.login(user, token, seconds)])


class Method(NamedTuple):
    """A method: its answer, the types of its parameters after the session, and the first release that has it."""

    answer: Callable[[MethodCall], Answer]
    signature: str = ""
    since: tuple[int, ...] = (3, 2)


def _of_everybody(
    name: str, tag: str, kind: str, write: Documents, *, filtered: bool = False, since: tuple[int, ...] = (3, 2)
) -> dict[str, Method]:
    """The methods for all and for one of the objects that everybody may use. With ``filtered`` a filter and a range are required,
    and make no difference."""

    def every(call: MethodCall) -> Answer:
        if filtered:
            owner, _, _ = (call.parameters.integer(place) for place in range(1, 4))
            if owner < Owner.GROUP:
                raise APIError(ErrorCode.API, "Incorrect filter_flag")
        release = call.profile.release
        return xmlrpc_wire.document([pool(tag, write(call.engine, release), release)])

    def one(call: MethodCall) -> Answer:
        number = call.parameters.integer(1)
        documents = write(call.engine, call.profile.release, number)
        if not documents:
            raise no_such(kind, number)
        return xmlrpc_wire.document(documents)

    signature = "int int int" if filtered else ""
    return {f"one.{name}pool.info": Method(every, signature, since), f"one.{name}.info": Method(one, "int", since)}


def _of_user(name: str, write: Callable[..., str]) -> dict[str, Method]:
    """The methods for all and for one of the objects of which a user sees the own one."""

    def one(call: MethodCall) -> Answer:
        return xmlrpc_wire.document([write(call.engine, call.user, call.parameters.integer(1))])

    return {
        f"one.{name}pool.info": Method(lambda call: xmlrpc_wire.document([write(call.engine, call.user)])),
        f"one.{name}.info": Method(one, "int"),
    }


_METHODS = {
    "one.system.version": Method(lambda call: xmlrpc_wire.document([call.profile.version]), since=(4,)),
    "one.vm.allocate": Method(
        lambda call: _allocated(call, call.parameters.text(1), call.parameters.flag(2, False)), "string boolean"
    ),
    "one.vm.info": Method(_info, "int"),
    "one.vm.action": Method(_action, "string int"),
    "one.vm.rename": Method(_rename, "int string", since=(4,)),
    "one.vm.update": Method(_update, "int string int", since=(4,)),
    "one.vm.chmod": Method(_chmod, "int int int int int int int int int int"),
    "one.vm.lock": Method(_lock, "int int", since=(5, 4)),
    "one.vm.unlock": Method(_unlock, "int", since=(5, 4)),
    "one.user.login": Method(_login, "string string int", since=(4, 6)),
    "one.vmpool.info": Method(partial(_instances, vm_documents.pooled_instance), "int int int int"),
    "one.vmpool.infoextended": Method(partial(_instances, vm_documents.extended_instance), "int int int int", since=(5, 8, 1)),
    "one.vmpool.infoset": Method(_set, "string boolean", since=(5, 12, 0, 1)),
    "one.vmpool.monitoring": Method(_pool_monitoring, "int int", since=(4,)),
    "one.vm.monitoring": Method(
        lambda call: _reports(call, [call.engine.instance(call.user, call.parameters.integer(1))]), "int", since=(4,)
    ),
    "one.template.instantiate": Method(_instantiate, "int string boolean string"),
    **_of_everybody("image", "IMAGE_POOL", "image", images, filtered=True),
    **_of_everybody("vn", "VNET_POOL", "virtual network", networks, filtered=True),
    **_of_everybody("template", "VMTEMPLATE_POOL", "virtual machine template", templates, filtered=True),
    **_of_everybody("host", "HOST_POOL", "host", hosts),
    **_of_everybody("datastore", "DATASTORE_POOL", "datastore", datastores, since=(3, 4)),
    **_of_everybody("cluster", "CLUSTER_POOL", "cluster", clusters, since=(3, 4)),
    **_of_user("user", users),
    **_of_user("group", groups),
}
