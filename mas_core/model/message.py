"""Messages: what a handler sees, and the two shapes in which they travel inside frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final, Protocol

import msgspec

from mas_core.base.clock import now_ms
from mas_core.base.ids import new_message_id
from mas_core.errors import InvalidPayload, SignatureInvalid, UsageError
from mas_core.model.decision import Receipt
from mas_core.model.json_text import encode_json
from mas_core.model.priority import NORMAL
from mas_core.model.signature import Proof, Signature, SignedStatement
from mas_core.model.topic import REPORT, SUBSCRIBE

Payload = dict[str, object]

DEFAULT_TTL_MS = 3_600_000
MAX_TTL_MS = 30 * 24 * 3_600_000


class Flag:
    """Bits of an envelope; plain numbers, since every message is asked for them many times."""

    EXPECTS_REPLY: Final = 1
    IS_REPLY: Final = 2
    CHOSEN_ID: Final = 4
    """The id can occur again on purpose, so duplicates of it are looked for."""
    PARTIAL: Final = 8
    """An earlier part of a reply; the final one follows."""
    ERROR: Final = 16
    """A reply that tells of a failure."""
    SIGNED: Final = 32
    """It carries a signature of its sender, and its id must not come again."""
    ENCRYPTED: Final = 64
    """Of a delivery: its payload is encrypted for the target, and only the target can read it."""
    TRIAL: Final = 128
    """Of a delivery: a circuit waits for its outcome, so the agent tells it."""
    AT_MOST_ONCE: Final = 256
    """Its handler may be started once; see `mas_core.model.delivery_mode`."""
    AT_LEAST_ONCE: Final = 512
    """Its handler is started until it succeeds, whatever its receiver does otherwise."""
    EXACTLY_ONCE: Final = 1024
    """Repeats of its id have no effect, neither at the gateway nor at the receiver."""
    SCHEDULED: Final = 2048
    """It is for later: `deliver_at` or `delay_ms` says when."""
    TRACED: Final = 4096
    """Of a delivery: the gateway exports a span of it, so the receiver's spans are below that."""


class Envelope(msgspec.Struct, array_like=True, gc=False):
    """One message on its way from a sender to the gateway."""

    id: str
    target: str
    type: str
    data: bytes
    """JSON text."""
    sent_at: int
    """Unix milliseconds by the sender's clock; informative only."""
    ttl_ms: int = DEFAULT_TTL_MS
    priority: int = NORMAL
    flags: int = 0
    correlation: str = ""
    """Of a reply: the id of the request."""
    capsule: bytes = b""
    """Of a reply: the permit that came with the request."""
    headers: dict[str, str] | None = None
    signature: Signature | None = None
    deliver_at: int = 0
    """Of a scheduled message: Unix milliseconds by the server's clock; 0 when `delay_ms` says it."""
    delay_ms: int = 0
    """Of a scheduled message: how long after it reached the server it is due."""
    parent: str = ""
    """Id of the message whose handler sends this one, as the sender says."""
    behalf: bytes = b""
    """The capsule of the message on behalf of whose sender this one is sent."""


class Attempt(msgspec.Struct, array_like=True, frozen=True):
    """One attempt to have a message handled, and why it failed."""

    number: int
    """From 1; 0 for an operator's word to try it again."""
    at: int
    """When it was handed back, or started by an instance that died: Unix milliseconds by the server's clock."""
    code: str
    reason: str = ""
    instance: str = ""


class Delivery(msgspec.Struct, array_like=True, gc=False):
    """One message on its way from the gateway to its target; `data` is what was scanned."""

    id: str
    sender: str
    target: str
    type: str
    data: bytes
    accepted_at: int
    """Unix milliseconds by the server's clock."""
    expires_at: int
    priority: int = NORMAL
    flags: int = 0
    correlation: str = ""
    capsule: bytes = b""
    headers: dict[str, str] | None = None
    attempt: int = 1
    proof: Proof | None = None
    """The sender's signature, where it signs its messages."""
    history: tuple[Attempt, ...] = ()
    """The attempts that failed."""
    behalf: tuple[str, ...] = ()
    """On whose behalf its sender sends it, from who asked first to who asked the sender; checked by the gateway."""


class Capsule(msgspec.Struct, array_like=True, frozen=True):
    """The permit to answer one request once, and the proof of who asked; made and MACed by the gateway."""

    request: str
    asker: str
    instance: str
    replier: str
    expires_at: int
    mac: bytes = b""
    is_encrypted: bool = False
    """Whether the payload was end-to-end encrypted, so that the answer has to be as well."""
    chain: tuple[str, ...] = ()
    """On whose behalf the asker asked, from who asked first."""


BEHALF_HEADER: Final = "mas-on-behalf-of"
"""Header in which receivers find on whose behalf a message was sent; only a gateway's word gets there."""

FENCE_HEADER: Final = "mas-fence"
"""Header of a message that counts only while no later leader than its sender has spoken to its target."""
ATTACH = "mas.attach"
BEAT = "mas.beat"
DETACH = "mas.detach"
NACK = "mas.nack"
OUTCOME = "mas.outcome"
DISCOVER = "mas.discover"
UNAUTHENTIC_DELIVERY: Final = "unauthentic_delivery"
"""Code of a handed-back frame that the gateway did not seal for this inbox."""
POISON: Final = "poison"
"""Code of a handed-back message whose start another instance did not survive."""
REPEATED_DELIVERY: Final = "repeated_delivery"
"""Code of a handed-back frame that somebody put into the inbox a second time."""
WAYS = "mas.ways"
"""Asks which agents may get a message that is sent to a capability or a route."""
KEYS = "mas.keys"
"""Asks for the public keys of agents."""
REHEARSE = "mas.rehearse"
"""Asks what would become of a message, which is its data, packed as it would travel."""
STANDING = "mas.standing"
"""What the gateway tells an instance: the standing that an operator gave to its agent."""
CONTROL_TYPES = frozenset(
    {ATTACH, BEAT, DETACH, NACK, OUTCOME, DISCOVER, WAYS, KEYS, REHEARSE, SUBSCRIBE, REPORT}
)
"""What an agent's own runtime says to the gateway; such messages go no further."""


class TypedPayload(Protocol):
    """A payload that says of which type its message is, such as those of `mas_core.agent.known_messages`."""

    TYPE: ClassVar[str]


class Replier(Protocol):
    """What a message needs in order to answer."""

    def __call__(
        self, message: AgentMessage, message_type: str, data: object, *, final: bool, error: bool
    ) -> Awaitable[Receipt | None]:
        """Send `data` as the answer to `message`."""


class MessageMeta(msgspec.Struct):
    """What a message says about itself beside its data."""

    correlation_id: str = ""
    expects_reply: bool = False
    is_reply: bool = False
    is_final: bool = True
    is_error: bool = False
    version: int = 1


class AgentMessage(msgspec.Struct):
    """A message as handlers and callers see it.

    `data` is the payload as a plain dict; `payload` is another name for it.
    """

    sender_id: str
    target_id: str
    message_type: str
    data: Payload
    meta: MessageMeta = msgspec.field(default_factory=MessageMeta)
    timestamp: float = msgspec.field(default_factory=lambda: now_ms() / 1000)
    """Unix seconds: when the gateway accepted it."""
    message_id: str = msgspec.field(default_factory=new_message_id)
    priority: int = NORMAL
    headers: dict[str, str] = {}
    attempt: int = 1
    """From 1; one more each time that it is delivered again because its handler failed."""
    takeovers: int = 0
    """How often it was taken over from an instance that ended with it in hand, and may have begun it."""
    capsule: bytes = b""
    replier: Replier | None = None
    encrypted_for: str = ""
    """Key id under which the payload was decrypted here; empty when it came in clear."""
    signed: SignedStatement | None = None
    """What the sender signed, where it signs its messages."""
    is_traced: bool = False
    """Whether the gateway exports a span of it."""
    number: int = 0
    """Of a message from a topic: its number there, from 1."""

    @property
    def topic(self) -> str:
        """Name of the topic that it was published to; empty when it was sent to the agent."""
        kind, _, name = self.target_id.partition(":")
        return name if kind == "topic" else ""

    @property
    def on_behalf_of(self) -> tuple[str, ...]:
        """On whose behalf the sender sent it: who asked first, and so on to who asked the sender.

        The gateway has checked each step; empty when the sender speaks for itself.
        """
        return tuple(self.headers.get(BEHALF_HEADER, "").split())

    @property
    def payload(self) -> Payload:
        """Another name for `data`."""
        return self.data

    @property
    def expects_reply(self) -> bool:
        """Whether the sender waits for an answer."""
        return self.meta.expects_reply

    @property
    def is_reply(self) -> bool:
        """Whether this answers a request."""
        return self.meta.is_reply

    @property
    def encrypted(self) -> bool:
        """Whether nobody between the sender and this agent could read the payload."""
        return bool(self.encrypted_for)

    def verify(self, public_key: bytes | str) -> SignedStatement:
        """Check the sender's signature without asking anybody.

        Args:
            public_key: The sender's Ed25519 public key, got from a source that you trust: 32 bytes, or hex.

        Returns:
            What was signed. `covers_payload` is False when the gateway has changed the payload since, for
            example to redact it: then the signature is of the payload as it was sent.

        Raises:
            SignatureInvalid: There is no signature, or it is not of this key.
        """
        if self.signed is None:
            raise SignatureInvalid("the message carries no signature of its sender")
        self.signed.statement.verify(self.signed.value, public_key)
        return self.signed

    async def reply(self, message_type: str, data: object = None, *, final: bool = True) -> Receipt | None:
        """Answer the request; the reply goes to the very instance that asked.

        After the handler has changed the agent's state its final reply waits until that is committed, as what a
        handler returns does: no answer tells of a state that never came to be. Where the handler fails after it,
        the asker is told of that instead.

        Args:
            message_type: Type of the reply.
            data: A dict or a pydantic model.
            final: False for an earlier part of an answer, which goes out at once; the last one ends the request.

        Returns:
            What the gateway says; None for a reply that waits for the state. Where the gateway refuses that one,
            the asker gets an error.

        Raises:
            UsageError: The message did not ask for a reply or was not received by an agent.
            Refused: The gateway did not let the reply through.
        """
        if self.replier is None or not self.expects_reply:
            raise UsageError(f"message {self.message_id} does not expect a reply")
        return await self.replier(self, message_type, data, final=final, error=False)

    def to_cloudevent(self) -> dict[str, object]:
        """The message as a CloudEvent 1.0 in JSON, structured mode: its sender is the source.

        Raises:
            EventInvalid: The payload says that it is a CloudEvent, and cannot be one.
        """
        from mas_core.model.cloud_events import to_cloudevent  # noqa: PLC0415 - these know messages
        from mas_core.model.event_messages import event_of  # noqa: PLC0415

        return to_cloudevent(event_of(self))

    def to_json(self) -> str:
        """The message as one JSON object, as `from_json` reads it."""
        return msgspec.json.encode(
            {
                "message_id": self.message_id,
                "sender_id": self.sender_id,
                "target_id": self.target_id,
                "message_type": self.message_type,
                "data": self.data,
                "timestamp": self.timestamp,
                "priority": self.priority,
                "headers": self.headers,
                "meta": {
                    "correlation_id": self.meta.correlation_id,
                    "expects_reply": self.meta.expects_reply,
                    "is_reply": self.meta.is_reply,
                    "is_final": self.meta.is_final,
                    "is_error": self.meta.is_error,
                    "version": self.meta.version,
                },
            }
        ).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> AgentMessage:
        """The message that `to_json` wrote.

        Raises:
            InvalidPayload: The text is not such a message.
        """
        try:
            shape = msgspec.json.decode(text, type=_MessageJson)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidPayload(f"this is not a message: {error}") from error
        return cls(
            sender_id=shape.sender_id,
            target_id=shape.target_id,
            message_type=shape.message_type,
            data=shape.data,
            meta=MessageMeta(**msgspec.structs.asdict(shape.meta)),
            timestamp=shape.timestamp,
            message_id=shape.message_id,
            priority=shape.priority,
            headers=shape.headers,
        )


class _MetaJson(msgspec.Struct):
    correlation_id: str = ""
    expects_reply: bool = False
    is_reply: bool = False
    is_final: bool = True
    is_error: bool = False
    version: int = 1


class _MessageJson(msgspec.Struct):
    message_id: str
    sender_id: str
    target_id: str
    message_type: str
    data: dict[str, object]
    timestamp: float
    priority: int = NORMAL
    headers: dict[str, str] = {}
    meta: _MetaJson = msgspec.field(default_factory=_MetaJson)


def payload_bytes(data: object) -> bytes:
    """The JSON text of a payload given as dict, pydantic model, msgspec struct or None.

    Raises:
        InvalidPayload: It is not an object or holds something that JSON cannot say.
    """
    if data is None:
        return b"{}"
    dump: Callable[..., object] | None = getattr(data, "model_dump", None)
    value = dump(mode="json") if dump is not None else data
    text = encode_json(value)
    if not text.startswith(b"{"):
        raise InvalidPayload("the payload must be an object", hint="""wrap it, for example {"value": ...}""")
    return text
