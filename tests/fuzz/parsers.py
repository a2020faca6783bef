"""Every parser that reads what others wrote, as a function of bytes that may only end in the ways it promises."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from fuzz.bearers import bearer_seeds, read_any_bearer
from fuzz.calls import call_seeds, carry_out_call
from fuzz.plain_calls import plain_seeds, say_plainly
from support.backups import write_empty_backup
from support.voting import Hall

from mas_core.coordination.trail import verify as verify_trail
from mas_core.errors import (
    BackupInvalid,
    CertificateRefused,
    ConfigurationError,
    DecryptionFailed,
    EventInvalid,
    EvidenceDamaged,
    FilterInvalid,
    InvalidPayload,
    MasError,
    UsageError,
)
from mas_core.events.expressions import Expression, Undecided
from mas_core.events.patterns import compile_pattern
from mas_core.gateway.controls import (
    AttachData,
    DiscoverData,
    KeysData,
    NackData,
    OutcomeData,
    check_claims,
    read_control,
)
from mas_core.gateway.opening import Opener, _readable
from mas_core.gateway.rehearsal import read_rehearsal
from mas_core.gateway.sessions import Sessions
from mas_core.gateway.stages.check_form import CheckForm
from mas_core.gateway.transit import Surroundings, Transit
from mas_core.model.cloud_events import decode_cloudevent, encode_cloudevent
from mas_core.model.decision import Decision, Receipt
from mas_core.model.encrypted_payload import MARK, read_encrypted
from mas_core.model.event import Event
from mas_core.model.frame import (
    DELIVERIES_DECODER,
    FRAME_VERSION,
    RECEIPTS_DECODER,
    UNREADABLE,
    Frame,
    FrameHeader,
    FrameReceipt,
    Place,
)
from mas_core.model.json_text import encode_json, parse_json
from mas_core.model.message import AgentMessage, Capsule, Delivery, Envelope
from mas_core.model.registration import AgentKey
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.contents import PARTS
from mas_core.ops.backup.verify import verify
from mas_core.ops.certificate_facts import info_of
from mas_core.ops.consensus import read_trail
from mas_core.security.certificates import Authority, Holder, new_key, request_key
from mas_core.security.dlp import Scanner, load_pack
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import SealKey, read_header, seal_for
from mas_core.security.spiffe import agent_of, read_certificate
from mas_core.security.tokens import agent_key, derive_keys, new_token
from mas_core.settings.agent_spec import read_specs
from mas_core.settings.policy_file import load_policy_file
from mas_core.store.stored import StoredFrame

MAX_PAYLOAD = 1_000_000
SESSION = "00000000000000ab"
INSTANCE = "00000000000000cd"
_ENCODER = msgspec.msgpack.Encoder()


class Parser(NamedTuple):
    """One parser."""

    name: str
    run: Callable[[bytes], None]
    """Reads the bytes; raises only for a bug."""
    seeds: Sequence[bytes]
    """Texts that it takes, to start from."""


class Registry:
    """One agent, as the opener of frames sees it."""

    def __init__(self) -> None:
        self.keys = GatewayKeys.generate()
        self.agent = derive_keys(new_token(self.keys.public_key), "alice")
        self.registered = agent_key(self.agent, created=1)

    def key(self, agent_id: str, key_id: str) -> AgentKey | None:
        """The key of alice."""
        return self.registered if (agent_id, key_id) == ("alice", self.registered.key_id) else None

    def is_registered(self, agent_id: str) -> bool:
        """Whether it is alice."""
        return agent_id == "alice"

    def seal_key(self, agent_id: str, key: AgentKey, *, session: str, to_gateway: bool) -> SealKey:
        """The key of the gateway's side."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        return SealKey(
            self.keys.seal_key,
            X25519PublicKey.from_public_bytes(bytes.fromhex(key.seal_key)),
            session=session,
            namespace="mas",
            to_gateway=to_gateway,
            agent=agent_id,
            agent_key_id=key.key_id,
            gateway_key_id=self.keys.key_id,
        )


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The one of this process."""
    return Registry()


def header(**changes: object) -> FrameHeader:
    """A header as alice's client makes it."""
    found = registry()
    made = FrameHeader(
        FRAME_VERSION, "mas", 0, Place.INGRESS, "normal", "alice", INSTANCE, SESSION,
        found.registered.key_id, found.keys.key_id, 1, 1, 1,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def opener() -> Opener:
    """An opener without sessions."""
    found = registry()
    return Opener(
        found,  # type: ignore[arg-type]
        Sessions(),
        namespace="mas",
        partition=0,
        gateway_key_id=found.keys.key_id,
    )


def read_frame_header(data: bytes) -> None:
    """The header of an entry of the ingress, and the whole frame behind it."""
    with contextlib.suppress(DecryptionFailed):
        read_header(Frame(data, b""))
    opener().open(StoredFrame("normal", "1-1", Frame(data, b"\x00" * 40)))


def read_frame_body(data: bytes) -> None:
    """What a sender with a valid token has sealed."""
    found = registry()
    key = found.seal_key("alice", found.registered, session=SESSION, to_gateway=True)
    opened = opener().open(StoredFrame("normal", "1-1", seal_for([key], header(), data)))
    assert opened.rejection == "", opened.rejection


def read_envelopes(data: bytes) -> None:
    """Envelopes, and the first look at each."""
    form = CheckForm(MAX_PAYLOAD)
    for envelope in _readable(data)[:64]:
        form.check(Transit.of(envelope, "alice", INSTANCE, "k", 1), Surroundings(1))


def read_payload(data: bytes) -> None:
    """A payload; what is taken is what everybody reads in it, and can be written again."""
    try:
        value = parse_json(data)
    except InvalidPayload:
        return
    assert parse_json(encode_json(value)) == value
    assert json.loads(data) == value


def read_controls(data: bytes) -> None:
    """What an agent's runtime says to the gateway."""
    for kind in (AttachData, NackData, OutcomeData, DiscoverData, KeysData):
        with contextlib.suppress(msgspec.DecodeError):
            found = read_control(data, kind)
            if isinstance(found, AttachData):
                check_claims(found, None)
                check_claims(found, ("math",))
    with contextlib.suppress(msgspec.DecodeError):
        read_rehearsal(data)


def read_receipts(data: bytes) -> None:
    """What an agent gets back: receipts, replies, permits, messages."""
    for decode in (RECEIPTS_DECODER.decode, DELIVERIES_DECODER.decode, _CAPSULES.decode):
        with contextlib.suppress(*UNREADABLE):
            decode(data)
    with contextlib.suppress(InvalidPayload):
        AgentMessage.from_json(data)


EVENT_SEEDS = (
    (
        b'{"specversion":"1.0","id":"i","source":"s","type":"a.b","topic":"t","time":"2026-01-31T09:30:00.25Z",'
        b'"subject":"x","data":{"a":[1,null]}}'
    ),
    b'{"specversion":"1.0","id":"i","source":"s","type":"a","datacontenttype":"a/b","data_base64":"AAE="}',
)
FILTER_SEEDS = (
    b'data.amount > 100 && type == "order.created" || !has(data.x) ? true : false',
    b"data.tags.exists(tag, tag.matches('^a+$')) && size(topic) - -1 > 2.5e3",
    b"orders.*.eu.>",
)
_SEEN = Event("a.b", "s", {"amount": 1, "tags": ["a"]}, "t")


def read_event(data: bytes) -> None:
    """A CloudEvent; what is read can be written, and read again as the same."""
    with contextlib.suppress(EventInvalid):
        event = decode_cloudevent(data)
        again = decode_cloudevent(encode_cloudevent(event))
        assert again == event


def read_filter(data: bytes) -> None:
    """An expression and a pattern, and what they say of an event."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(FilterInvalid):
        compile_pattern(text)("orders.a.eu.b")
    with contextlib.suppress(FilterInvalid, Undecided, ArithmeticError, RuntimeError, TypeError):
        Expression(text)(_SEEN)


_CAPSULES = msgspec.msgpack.Decoder(Capsule)


def read_ciphertext(data: bytes) -> None:
    """A payload that looks end-to-end encrypted."""
    with contextlib.suppress(InvalidPayload):
        value = parse_json(data)
        if isinstance(value, dict) and MARK in value:
            read_encrypted(value)  # type: ignore[arg-type]


def read_token(data: bytes) -> None:
    """A token as it stands in a file."""
    with contextlib.suppress(MasError):
        derive_keys(data.decode("utf-8", "replace").strip(), "alice")


@lru_cache(maxsize=1)
def _scanner() -> Scanner:
    return Scanner(load_pack())


def scan(data: bytes) -> None:
    """A payload on its way through the scanner; what was redacted is clean."""
    try:
        value = parse_json(data)
    except InvalidPayload:
        return
    result = _scanner().scan(value)
    assert result.action in {"pass", "alert", "redact", "block", "unscannable"}


@lru_cache(maxsize=1)
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="mas-fuzz-"))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def read_spec(data: bytes) -> None:
    """A file of agents.d."""
    with contextlib.suppress(ConfigurationError, UsageError):
        read_specs([_file("agent.yaml", data)])


def read_policy(data: bytes) -> None:
    """A policy.yaml."""
    with contextlib.suppress(ConfigurationError, UsageError):
        load_policy_file(_file("policy.yaml", data))


def read_pack(data: bytes) -> None:
    """A rule pack of the scanner."""
    with contextlib.suppress(ConfigurationError, UsageError):
        load_pack(_file("pack.yaml", data))


def _envelope_seeds() -> list[bytes]:
    plain = Envelope("01J0000000000000000000000A", "bob", "x.y", b'{"a":[1,2.5,"x",null]}', 1)
    reply = Envelope(
        "m1", "bob", "x.reply", b"{}", 1, 60_000, 10, 6, "m0", _ENCODER.encode(Capsule("m0", "bob", "i", "a", 9)),
        {"trace": "1"},
    )  # fmt: skip
    return [_ENCODER.encode([plain]), _ENCODER.encode([plain, reply]), _ENCODER.encode([])]


CONTROL_SEEDS = (
    b'{"capabilities":["math"],"metadata":{"zone":"eu"},"slot":"s","in_hand":1,"host":"h","pid":7}',
    b'{"lane":"high","entry":"1-1","position":0,"code":"x","reason":"y","retryable":true}',
    b'{"capabilities":["math"],"match_all":true,"metadata":{"zone":"eu"},"status":"active"}',
)
JSON_SEEDS = (
    b'{"a":{"b":[1,-2.5e3,"x\\u00e9\\ud83d\\ude00",true,false,null]},"c":""}',
    b'{"card":"4111 1111 1111 1111","mail":"ada@example.com","key":"AKIAIOSFODNN7EXAMPLE"}',
    b'{"data":"NDExMTExMTExMTExMTExMQ==","parts":["4111","1111","1111","1111"]}',
)
SPEC_SEEDS = (
    b"""agent_id: counter
class_path: counter:Counter
capabilities: [a, b]
instances: 2
restart: {policy: on-failure, base: 0.1}
permissions:
  - from: operator
    types: ["text.*"]
  - to: [notebook, "role:writers"]
limits: {per_minute: 5}
""",
    b"""agent_id: wc
exec: [wc, -w]
mode: per_message
field: text
types: [text.count]
env: {A: '1'}
metadata: {zone: eu}
""",
)
POLICY_SEEDS = (
    b"""roles:
  staff: [alice, bob]
rules:
  - allow: role:staff -> [ledger, archive]
    types: ["x.*"]
    expires: 2030-01-01T00:00:00Z
  - deny: {from: "*", to: vault, action: send}
    reason: the vault only answers
  - hold: clerk -> bank
limits:
  default: {per_minute: 10, per_hour: 100}
features: {dlp: false}
dlp: {card: redact, email: off}
routes:
  - route: alice -> bob
    e2e: allow
blocked:
  mallory: {reason: sends to strangers}
""",
)
PACK_SEEDS = (
    b"""id: own
version: '1'
rules:
  - {id: badge, category: custom, pattern: '[0-9]{6}', action: alert, context: [badge id], window: 10}
  - id: order_no
    category: custom
    pattern: 'ORD-[0-9]{6}'
    severity: high
    action: block
""",
)


def read_backup(data: bytes) -> None:
    """The file of a backup; whether anybody vouches for it does not matter here."""
    with contextlib.suppress(BackupInvalid), BackupReader(_file("backup.zip", data)) as reader:
        keys = registry().keys
        verify(reader, keys)
        for part in PARTS:
            with contextlib.suppress(BackupInvalid):
                list(reader.lines(part, reader.claimed))


def _backup_seed() -> bytes:
    keys = registry().keys
    return write_empty_backup(_file("seed.zip", b""), keys, keys.key_id).read_bytes()


def read_vote_commands(data: bytes) -> None:
    """What agents say to votes; each verb answers, whatever it is."""
    try:
        said = parse_json(data)
    except InvalidPayload:
        return
    if isinstance(said, dict):
        hall = Hall()
        proposal = hall.open("plan", participants=["a"])
        for verb in ("open", "cast", "get", "close"):
            hall.say("a", verb, dict(said), proposal.id)
            hall.say("boss", verb, dict(said), "other")
        hall.wait(40 * 86_400_000)
        hall.restart()


def read_vote_trail(data: bytes) -> None:
    """An exported trail: it says what is wrong with it."""
    with contextlib.suppress(EvidenceDamaged):
        verify_trail(read_trail(_file("trail.json", data)))


def _vote_seeds() -> tuple[list[bytes], bytes]:
    """Commands, and the trail of a vote."""
    hall = Hall()
    terms: dict[str, object] = {"strategy": "ranked", "options": ["x", "y"], "deadline": 5}
    proposal = hall.open("plan", participants=["a", "b"], early=False, **terms)
    ballot = hall.ballot("a", proposal, "x", "y")
    hall.say("a", "cast", ballot, "plan")
    hall.wait(60_000)
    commands = [
        {"title": "t", "participants": {"a": 2}, "threshold": "2/3", "on_tie": ["revote"], **terms},
        {"proposals": {"shared": {"title": "t", "participants": ["a"]}, "each": [{"name": "x"}]}},
        ballot,
        {"proposals": {"": 1}, "wait_ms": 5, "documents": True},
        {"proposal": "", "choice": "x"},
    ]
    return [encode_json(item) for item in commands], msgspec.json.encode(hall.trail())


def read_someones_certificate(data: bytes) -> None:
    """What a client shows: an agent's only if its one URI says so letter by letter."""
    try:
        certificate = read_certificate(data)
    except CertificateRefused:
        return
    now = datetime(2026, 11, 22, tzinfo=UTC)
    info = info_of(certificate, trust_domain="mas", now=now, revoked={}, authorities=[certificate])
    with contextlib.suppress(CertificateRefused):
        agent_id = agent_of(certificate, trust_domain="mas")
        assert (info.kind, info.name) == ("agent", agent_id)
        uris = [name for name in info.names if name.startswith("URI:")]
        assert uris == [f"URI:spiffe://mas/agent/{agent_id}"]


def read_signing_request(data: bytes) -> None:
    """What an operator is handed."""
    with contextlib.suppress(UsageError):
        request_key(data)


def _certificate_seeds() -> tuple[list[bytes], list[bytes]]:
    """Certificates and signing requests, in PEM and in DER."""
    now, key = datetime(2026, 11, 22, tzinfo=UTC), new_key()
    authority = Authority.create("mas", now=now)
    certificates = [
        authority.certificate,
        authority.issue(Holder("agent", "alice"), key.public_key(), now=now),
        authority.issue(Holder("server", "localhost", ("::1",)), key.public_key(), now=now),
    ]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    encodings = (Encoding.DER, Encoding.PEM)
    return (
        [each.public_bytes(encoding) for each in certificates for encoding in encodings],
        [request.public_bytes(encoding) for encoding in encodings],
    )


def parsers() -> list[Parser]:
    """All of them."""
    vote_commands, vote_trail = _vote_seeds()
    certificates, requests = _certificate_seeds()
    receipt = FrameReceipt(
        SESSION, 0, "normal", 1, (Receipt("m", Decision.BLOCKED, "r", hint=("mas x",)),), (0,)
    )
    delivery = Delivery("m", "alice", "bob", "x", b"{}", 1, 2)
    message = AgentMessage("alice", "bob", "x", {"a": 1}).to_json().encode()
    encrypted = b'{"mas_e2e":{"v":1,"suite":"hpke","keys":{"0123456789abcdef":"AAAA"},"body":"AAAA"}}'
    return [
        Parser("envelope", read_envelopes, _envelope_seeds()),
        Parser("frame header", read_frame_header, [msgspec.msgpack.encode(header())]),
        Parser("frame body", read_frame_body, _envelope_seeds()),
        Parser("payload", read_payload, JSON_SEEDS),
        Parser("control message", read_controls, [*CONTROL_SEEDS, _envelope_seeds()[0][1:]]),
        Parser(
            "receipt",
            read_receipts,
            [_ENCODER.encode([receipt]), _ENCODER.encode([delivery]), message],
        ),
        Parser("event", read_event, EVENT_SEEDS),
        Parser("filter of events", read_filter, FILTER_SEEDS),
        Parser("encrypted payload", read_ciphertext, [encrypted, *JSON_SEEDS[:1]]),
        Parser("token", read_token, [new_token(registry().keys.public_key).encode()]),
        Parser("scan", scan, JSON_SEEDS),
        Parser("agent spec", read_spec, SPEC_SEEDS),
        Parser("policy", read_policy, POLICY_SEEDS),
        Parser("rule pack", read_pack, PACK_SEEDS),
        Parser("backup", read_backup, [_backup_seed()]),
        Parser("vote command", read_vote_commands, vote_commands),
        Parser("vote trail", read_vote_trail, [vote_trail]),
        Parser("certificate", read_someones_certificate, certificates),
        Parser("certificate signing request", read_signing_request, requests),
        Parser("bearer token", read_any_bearer, bearer_seeds()),
        Parser("call to a server", carry_out_call, call_seeds()),
        Parser("plain words to a server", say_plainly, plain_seeds()),
    ]
