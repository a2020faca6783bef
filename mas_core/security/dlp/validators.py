"""Checks that a match must pass before it counts: checksums, number ranges, randomness.

A validator gets the searched text and the span of a match, and gives the span that really is the sensitive
part, which may be shorter, or None.
"""

from __future__ import annotations

import importlib
import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Final

from stdnum import iban as _iban
from stdnum import luhn
from stdnum.us import ein as _ein
from stdnum.us import rtn as _rtn
from stdnum.us import ssn as _ssn

from mas_core.security.dlp.cards import card

Span = tuple[int, int]
Validator = Callable[[str, int, int], Span | None]

_REGIONS: Final = ("GB", "DE", "FR", "IT", "NL", "BE", "CH", "AT", "AU", "IN", "JP", "SE", "ZA")
_COUNTRY_NUMBERS: Final = """
    ar.cuit at.tin au.tfn be.nn bg.egn br.cnpj br.cpf ca.sin ch.ssn cl.rut cn.ric co.nit cz.rc de.idnr
    dk.cpr ee.ik es.dni es.nie fi.hetu fr.nir gb.nhs gb.utr gr.amka hr.oib id.nik ie.pps il.idnr
    in_.aadhaar in_.pan it.codicefiscale jp.in_ kr.rrn lt.asmens mx.curp mx.rfc my.nric nl.bsn
    no.fodselsnummer nz.ird pk.cnic pl.nip pl.pesel pt.nif ro.cnp se.personnummer th.pin tr.tckimlik
    us.itin za.idnr
"""
"""Numbers of persons and firms that python-stdnum can check."""

_TYPE_NAME: Final = re.compile(r"[A-Z][a-z]{4,}[A-Z][a-z]")
_SEPARATORS: Final = re.compile(r"[^0-9A-Za-z]+")
_PLACEHOLDER: Final = re.compile(
    r"\[REDACTED(?::[a-z0-9_]*)?\]|\[SEALED:[a-z0-9_-]{1,63}:[A-Za-z0-9_-]{66,}\]|(.)\1*|\$\{?[A-Za-z_][\w.]*\}?|\{\{?[^{}]*\}?\}|<[^<>]*>|%\(?\w+\)?s?|"
    r"(?i:null|none|nil|true|false|undefined|redacted|masked|hidden|string|str|required|optional|password|passwd|"
    r"secret|token|user|pass|your[-_ ].*|example|changeme|placeholder|env:.*|vault:.*)",
    re.DOTALL,
)


def ssn(text: str, start: int, end: int) -> Span | None:
    """A US social security number that was or can be given out and stands alone."""
    if _continues(text, start, end) or not _ssn.is_valid(_digits(text, start, end)):
        return None
    return start, end


def ein(text: str, start: int, end: int) -> Span | None:
    """A US employer identification number with a known prefix."""
    if _continues(text, start, end) or not _ein.is_valid(_digits(text, start, end)):
        return None
    return start, end


def aba(text: str, start: int, end: int) -> Span | None:
    """A US bank routing number."""
    return (start, end) if _rtn.is_valid(_digits(text, start, end)) else None


def iban(text: str, start: int, end: int) -> Span | None:
    """An IBAN by country format and checksum; what follows it in the match is cut off."""
    places = [place for place in range(start, end) if text[place].isalnum()]
    compact = "".join(text[place] for place in places)
    if end < len(text) and text[end].isascii() and text[end].isalnum():
        return None
    for length in range(min(len(compact), 34), 14, -1):
        stop = places[length - 1] + 1
        followed = length < len(compact) and places[length] == stop
        candidate = compact[:length]
        if not followed and _has_remainder_one(candidate) and _iban.is_valid(candidate):
            return start, stop
    return None


def ip(text: str, start: int, end: int) -> Span | None:
    """An IPv4 or IPv6 address that is not loopback, unspecified or part of a longer dotted number."""
    if _continues(text, start, end):
        return None
    try:
        address = ipaddress.ip_address(text[start:end])
    except ValueError:
        return None
    return None if address.is_loopback or address.is_unspecified else (start, end)


def phone(text: str, start: int, end: int) -> Span | None:
    """A phone number with country prefix."""
    return (start, end) if _is_phone(text[start:end], None) else None


def phone_us(text: str, start: int, end: int) -> Span | None:
    """A North American phone number without country prefix."""
    return (start, end) if not _continues(text, start, end) and _is_phone(text[start:end], "US") else None


def not_placeholder(text: str, start: int, end: int) -> Span | None:
    """Anything but the usual stand-ins for a secret, such as `***`, `${NAME}` or `<password>`."""
    return None if _PLACEHOLDER.fullmatch(text, start, end) else (start, end)


def random_text(text: str, start: int, end: int) -> Span | None:
    """Text that looks drawn at random: letters mixed with digits, and few repetitions."""
    value = text[start:end]
    has_digit = any(character.isdigit() for character in value)
    has_letter = any(character.isalpha() for character in value)
    if not (has_digit and has_letter) or _PLACEHOLDER.fullmatch(value) or entropy(value) < 3.0:
        return None
    return start, end


def mixed_case(text: str, start: int, end: int) -> Span | None:
    """Random text with upper and lower case, which hashes in hex do not have."""
    value = text[start:end]
    if value.isupper() or value.islower():
        return None
    return random_text(text, start, end)


def assigned_secret(text: str, start: int, end: int) -> Span | None:
    """A literal that is set to something secret: letters and digits that form no name or path in code."""
    value = text[start:end]
    has_both = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    if not has_both or _PLACEHOLDER.fullmatch(value) or text[end : end + 1] in {"(", "[", ".", "{"}:
        return None
    if text[start - 1 : start] not in {'"', "'"} and _TYPE_NAME.search(value):
        return None
    return (start, end) if entropy(value) >= 2.5 else None


def has_digits(text: str, start: int, end: int) -> Span | None:
    """Something with at least five digits, as most numbers on documents have."""
    return (start, end) if sum(map(str.isdigit, text[start:end])) >= 5 else None


def npi(text: str, start: int, end: int) -> Span | None:
    """A US national provider identifier: Luhn behind 80840."""
    return (start, end) if luhn.is_valid("80840" + text[start:end]) else None


def dea(text: str, start: int, end: int) -> Span | None:
    """A registration number of the US Drug Enforcement Administration."""
    digits = [int(digit) for digit in text[end - 7 : end]]
    total = sum(digits[0:6:2]) + 2 * sum(digits[1:6:2])
    return (start, end) if total % 10 == digits[6] else None


def phone_region(text: str, start: int, end: int) -> Span | None:
    """A phone number as it is dialled inside one of the countries that write a leading 0."""
    if _continues(text, start, end):
        return None
    return (start, end) if any(_is_phone(text[start:end], region) for region in _REGIONS) else None


def entropy(text: str) -> float:
    """Shannon entropy in bits a character."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def _digits(text: str, start: int, end: int) -> str:
    return _SEPARATORS.sub("", text[start:end])


def _continues(text: str, start: int, end: int) -> bool:
    """Whether the match is only a part of a longer number, such as 1-123-45-6789 or 12.3.4.5.6."""
    before, after = text[max(start - 2, 0) : start], text[end : end + 2]
    return (
        after[:1].isdigit()
        or (len(after) == 2 and after[0] in "-." and after[1].isdigit())
        or (len(before) == 2 and before[1] in "-." and before[0].isdigit())
    )


def _has_remainder_one(compact: str) -> bool:
    """The ISO 7064 check of an IBAN, cheap enough to try several lengths."""
    try:
        return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1
    except ValueError:
        return False


def _is_phone(number: str, region: str | None) -> bool:
    import phonenumbers  # noqa: PLC0415 - large, and most traffic holds no phone number

    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False


def _numbers_of(country_number: str) -> Validator:
    """A check that python-stdnum has; a module is loaded when it is first asked."""
    module = None

    def check(text: str, start: int, end: int) -> Span | None:
        nonlocal module
        module = module or importlib.import_module(f"stdnum.{country_number}")
        return (start, end) if module.is_valid(text[start:end]) else None

    return check


VALIDATORS: Final[dict[str, Validator]] = {
    "aba": aba,
    "assigned_secret": assigned_secret,
    "card": card,
    "dea": dea,
    "ein": ein,
    "has_digits": has_digits,
    "iban": iban,
    "ip": ip,
    "mixed_case": mixed_case,
    "not_placeholder": not_placeholder,
    "npi": npi,
    "phone": phone,
    "phone_region": phone_region,
    "phone_us": phone_us,
    "random_text": random_text,
    "ssn": ssn,
} | {f"stdnum:{number}": _numbers_of(number) for number in _COUNTRY_NUMBERS.split()}
