"""Instance arguments: ids are used as they are, names are looked up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from stratuslab.errors import NotFound, StratusLabError, UsageError
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner
from stratuslab.suggestion import did_you_mean

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud


def select(cloud: Cloud, words: Sequence[str], owner: int = Owner.MINE) -> tuple[list[int], list[StratusLabError]]:
    """The ids that the words stand for, in their order and without repetitions, and an error for each word without one.

    Names are looked up among the owner's instances (see Owner) that are not Done, with one listing at most. The errors are
    NotFound for an unknown name or id, and UsageError for an ambiguous name.
    """
    found, errors = numbers(cloud, words, owner)
    return list(dict.fromkeys(found.values())), errors


def numbers(cloud: Cloud, words: Sequence[str], owner: int = Owner.MINE) -> tuple[dict[str, int], list[StratusLabError]]:
    """As :func:`select`, with the id of each word."""
    named: dict[str, list[int]] = {word: [] for word in words if not is_id(word)}
    others: set[str] = set()
    if named:
        for instance in cloud.instances(owner):
            if instance.name in named:
                named[instance.name].append(instance.id)
            else:
                others.add(instance.name)
    ids: dict[str, int] = {}
    errors: list[StratusLabError] = []
    for word in dict.fromkeys(words):
        try:
            ids[word] = _id(word) if is_id(word) else _only(word, named[word], others)
        except StratusLabError as error:
            errors.append(error)
    return ids, errors


def is_id(word: str) -> bool:
    """Whether commands take the word for an id instead of a name."""
    return word.isascii() and word.isdigit()


def _id(word: str) -> int:
    if len(word) > 10 or int(word) > LARGEST_ID:
        raise NotFound(f"no machine {word[:40]}: ids end at {LARGEST_ID}")
    return int(word)


def _only(name: str, ids: list[int], others: Collection[str]) -> int:
    if not ids:
        suggestion = did_you_mean(name, others) or "stratus-describe-instance lists yours"
        raise NotFound(f'no machine is called "{name}"', suggestion)
    if len(ids) > 1:
        raise UsageError(f'several machines are called "{name}": {", ".join(map(str, sorted(ids)))}', "use an id")
    return ids[0]
