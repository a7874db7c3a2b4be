"""Codecs for single values, and tables of them that encode and decode a record.

What is decoded was written by another process: every value is checked, and a wrong one is a
ProtocolError that names its field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vlamon.protocol.columns import checked_name
from vlamon.protocol.frames import Message, ProtocolError
from vlamon.protocol.sanitize import text
from vlamon.safe_text import line

R = TypeVar("R")
MAX_COUNT = 1 << 62
"""Bound of every whole number: two of them add up to an i64."""
REQUIRED = object()
"""Default of a field that has to be there."""
_ARGV = 200
"""Words of a command line that are sent."""
MOST_CONTAINERS = 20_000
"""Lists and maps in the details of an event: an empty one is a byte on the wire, and 70 here."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One value on its way out and back."""

    decode: Callable[[Any], Any]
    """The value in what came; raises TypeError or ValueError where it is none."""
    encode: Callable[[Any], Any] = lambda value: value
    """What msgpack carries for the value."""


def exactly(kind: type) -> Callable[[Any], Any]:
    """A decoder for values of just this type."""

    def decode(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return decode


def whole(value: Any) -> int:
    """A whole number within bounds."""
    # bool is not an int here: True as a step is a broken sender.
    if type(value) is not int or not -MAX_COUNT < value < MAX_COUNT:
        raise TypeError
    return value


def count(value: Any) -> int:
    """A whole number from 0 on."""
    if whole(value) < 0:
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def finite(value: Any) -> float | None:
    """A number; None where it is not finite."""
    number = _number(value)
    return number if math.isfinite(number) else None


def _moment(value: Any) -> float:
    return finite(value) or 0.0


def _texts(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise TypeError
    return tuple(value)


def _numbers(value: Any) -> Mapping[str, float]:
    if type(value) is not dict:
        raise TypeError
    return {checked_name(name): _number(item) for name, item in value.items()}


def _details(value: Any) -> Mapping[str, Any]:
    """A map with anything in it, as far as it is not hollow."""
    left, waiting = MOST_CONTAINERS, [exactly(dict)(value)]
    while waiting:
        held = waiting.pop()
        parts = held.values() if isinstance(held, dict) else held
        waiting += [part for part in parts if isinstance(part, dict | list)]
        left -= 1
        if left < 0:
            raise ValueError
    return dict(value)


WHOLE, COUNT = Codec(whole), Codec(count)
NUMBER = Codec(_number)
"""A float as logged: NaN and infinities are values."""
FINITE = Codec(finite)
"""A float of which nothing is known where it is not finite."""
MOMENT = Codec(_moment)
"""Seconds since the epoch; 0 where unknown."""
FLAG = Codec(exactly(bool))
TEXT = Codec(exactly(str))
LINE = Codec(lambda value: line(exactly(str)(value)))
"""A word or a name: one line, nothing that a terminal acts on."""
MAP = Codec(_details, dict)
TEXTS = Codec(_texts, list)
ARGV = Codec(_texts, lambda parts: [text(part) for part in parts[:_ARGV]])
NUMBERS = Codec(_numbers, dict)


def one_of(*words: str) -> Codec:
    """One of these words, the first where it is another one: a later version may know more."""

    def decode(value: Any) -> str:
        exactly(str)(value)
        return value if value in words else words[0]

    return Codec(decode)


def required(most: int) -> Codec:
    """A text that has to be there."""

    def decode(value: Any) -> str:
        if not 0 < len(exactly(str)(value)) <= most:
            raise ValueError
        return str(value)

    return Codec(decode)


class FieldTable(Generic[R]):
    """The fields of one record, each with its codec and what it is where it is absent."""

    def __init__(self, kind: Callable[..., R], /, **fields: tuple[Codec, Any]) -> None:
        self.kind = kind
        self.fields = fields

    def encode(self, record: Any) -> Message:
        """The fields as msgpack carries them."""
        message: Message = {}
        for name, (codec, _) in self.fields.items():
            value = getattr(record, name)
            message[name] = None if value is None else codec.encode(value)
        return message

    def decode(self, message: Any) -> R:
        """The record in a message. Raises ProtocolError."""
        if type(message) is not dict:
            raise ProtocolError(f"a {getattr(self.kind, '__name__', 'record')} is not a map")
        found = {}
        for name, (codec, default) in self.fields.items():
            value = message.get(name, default)
            if value is None or value is default:
                if default is REQUIRED:
                    raise ProtocolError(f"`{message.get('t')}` has no `{name}`")
                found[name] = default
                continue
            try:
                found[name] = codec.decode(value)
            except ProtocolError:
                raise
            except (TypeError, ValueError, OverflowError) as error:
                wrong = f"`{message.get('t')}` has a wrong `{name}`: {value!r:.60}"
                raise ProtocolError(wrong) from error
        return self.kind(**found)

    @property
    def one(self) -> Codec:
        """Such a record as a value of another one."""
        return Codec(self.decode, self.encode)

    @property
    def many(self) -> Codec:
        """A list of them."""

        def decode(value: Any) -> tuple[R, ...]:
            return tuple(self.decode(item) for item in exactly(list)(value))

        return Codec(decode, lambda records: [self.encode(record) for record in records])
