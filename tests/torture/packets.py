"""The packets of MQTT, as far as both ends of a test need them: put together, and cut out of what has come.

    first byte (kind and flags) | length of the body, in digits to the base 128 | body

A reader of our own, because the judge should not lean on the library that is under test.
"""

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP = 0x80, 0x90, 0xC0, 0xD0
"""Kinds, as they stand in the upper half of the first byte."""
ASKS, QOS_1 = 0x02, 0x02
"""Flags: every SUBSCRIBE has the first, a PUBLISH that wants an answer the second."""


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + number(len(body)) + body


def text(content: str) -> bytes:
    raw = content.encode()
    return len(raw).to_bytes(2, "big") + raw


def number(value: int) -> bytes:
    """A length, the lowest digit first; a digit that others follow says so by its highest bit."""
    digits = bytearray()
    while True:
        value, digit = divmod(value, 128)
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)


def read_number(got: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The number at `at`, and where what follows it begins; None where its digits are not all there yet."""
    value, shift = 0, 0
    while at < len(got):
        digit = got[at]
        at += 1
        value |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return value, at
    return None


def take(got: bytearray) -> list[tuple[int, bytes]]:
    """Cuts off the packets that are whole, as (first byte, body)."""
    taken, at = [], 0
    while at < len(got) and (length := read_number(got, at + 1)) is not None:
        size, begin = length
        if begin + size > len(got):
            break
        taken.append((got[at], bytes(got[begin : begin + size])))
        at = begin + size
    del got[:at]
    return taken


def published(first: int, body: bytes) -> tuple[str, bytes, bytes]:
    """Of a PUBLISH: its topic, its number as it must be answered (empty without QoS 1), and the rest."""
    length = int.from_bytes(body[:2], "big")
    topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
    return (topic, rest[:2], rest[2:]) if first & QOS_1 else (topic, b"", rest)
