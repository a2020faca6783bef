"""Every key name, in one place.

Keys of a partition share the hash tag `{tag}`, so that a Cluster keeps them on one node. Parts of a name are
ids that cannot hold `:` `{` `}` or wildcards (see `mas_core.base.ids`), so two things never share a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from redis.crc import key_slot

CLUSTER_SLOTS = 16384
MAX_PARTITIONS = 1024

_EXPIRING = (
    b"replies:", b"from:", b"seen:", b"approval:", b"dead:order:", b"scheduled:", b"handled:", b"limit:",
    b"finished:",
)  # fmt: skip
"""How keys that always have an expiry begin, after the prefix of their partition."""
LAYOUT_END = "layout-"
"""How a name begins where others have an instance; no instance is called so."""

_SHARES = (10, 2, 6, 4, 8, 0, 1, 5, 9, 7, 11, 3)
"""Which twelfth of the slots each partition lies in: whatever their number, they spread over the nodes of a cluster
that has given each node its part of the slots."""


@lru_cache(maxsize=1024)
def partition_tag(partition: int) -> str:
    """The hash tag of a partition; the same in every layout, so that one that stays need not be moved."""
    share = _SHARES[partition % len(_SHARES)]
    width = CLUSTER_SLOTS / len(_SHARES)
    low, high = int(share * width), int((share + 1) * width)
    attempt = 0
    while True:
        tag = f"{partition}" if attempt == 0 else f"{partition}.{attempt}"
        if low <= key_slot(tag.encode()) < high:
            return tag
        attempt += 1


@dataclass(frozen=True, slots=True)
class Layout:
    """How agents are spread over partitions."""

    number: int
    """Grows with every change, from 1."""
    partitions: int
    """Each agent belongs to one of so many."""
    width: int
    """How many partitions there ever were: those beyond `partitions` keep their audit and nothing else."""
    next: int = 0
    """The number of partitions that it is being changed to; 0 while it is not."""

    @property
    def name(self) -> str:
        """What owners compare with the meta of a partition before they take it, and in every commit."""
        return f"{self.partitions}" if self.number == 1 else f"{self.partitions}.{self.number}"


class Keys:
    """Builds key names for one namespace and the layout that is in force, as far as it is known."""

    def __init__(self, namespace: str = "mas", partitions: int = 1) -> None:
        self.namespace = namespace
        self._prefix: list[str] = []
        self.follow(Layout(1, partitions, partitions))

    def follow(self, layout: Layout) -> None:
        """Go over to another layout."""
        self.layout = layout
        self.partitions = layout.partitions
        self._prefix += [
            f"{self.namespace}:{{{partition_tag(partition)}}}:"
            for partition in range(len(self._prefix), layout.width)
        ]

    @property
    def width(self) -> int:
        """How many partitions there ever were."""
        return self.layout.width

    def prefix(self, partition: int) -> str:
        """What all names of a partition begin with."""
        return self._prefix[partition]

    def layout_record(self) -> str:
        """Hash: the layout in force, once it was changed."""
        return f"{self.namespace}:layout"

    def policy(self) -> str:
        """Hash: the policy document, its MAC and its revision."""
        return f"{self.namespace}:policy"

    def policy_history(self) -> str:
        """Stream: every policy document there was; on the node of the policy, as one script writes both."""
        return f"{self.namespace}:policy:history:{{{self.policy()}}}"

    def gateways(self) -> str:
        """Hash: gateway id -> its last heartbeat and status."""
        return f"{self.namespace}:gateways"

    def drain_orders(self) -> str:
        """Hash: gateway id -> an operator's order that it owns nothing."""
        return f"{self.namespace}:gateways:drained"

    def denials_read(self) -> str:
        """Hash: place of a server -> up to when what it refused to its users was recorded."""
        return f"{self.namespace}:denials"

    def gateway_news(self) -> str:
        """Stream: an entry each time that gateways should look who owns what."""
        return f"{self.namespace}:gateways:news"

    def notaries(self) -> str:
        """Hash: notary id -> its last heartbeat and status."""
        return f"{self.namespace}:notaries"

    def runners(self) -> str:
        """Hash: runner id -> its last heartbeat and status."""
        return f"{self.namespace}:runners"

    def agent_servers(self) -> str:
        """Hash: id of a server of agents -> its last heartbeat and status."""
        return f"{self.namespace}:servers"

    def meta(self, partition: int) -> str:
        """Hash: owner, epoch, cursors, audit head and policy revision of a partition."""
        return self._prefix[partition] + "meta"

    def ingress(self, partition: int, lane: str) -> str:
        """Stream: sealed frames that wait for the gateway."""
        return f"{self._prefix[partition]}ingress:{lane}"

    def inbox(self, partition: int, agent_id: str, lane: str) -> str:
        """Stream with a group: sealed frames for an agent."""
        return f"{self._prefix[partition]}inbox:{agent_id}:{lane}"

    def work(self, partition: int, agent_id: str) -> str:
        """Hash: what is settled and started of pending frames, and counts of unsettled and handled messages."""
        return f"{self._prefix[partition]}work:{agent_id}"

    def handled(self, partition: int, agent_id: str) -> str:
        """Sorted set with expiry: messages that may take effect once, and when an agent handled them."""
        return f"{self._prefix[partition]}handled:{agent_id}"

    def replies(self, partition: int, agent_id: str, instance: str) -> str:
        """Stream: replies and receipts for one running instance."""
        return f"{self._prefix[partition]}replies:{agent_id}:{instance}"

    def layout_end(self, partition: int, agent_id: str, number: int) -> str:
        """String with expiry: the layout of this number has ended; read beside the replies, under their rights."""
        return f"{self._prefix[partition]}replies:{agent_id}:{LAYOUT_END}{number}"

    def audit(self, partition: int) -> str:
        """Stream: audit records in blocks; the id of a block is the sequence of its last record."""
        return self._prefix[partition] + "audit"

    def payload_copies(self, partition: int) -> str:
        """Hash: number of an audit record -> the sealed copy of its payload, where the policy keeps any."""
        return self._prefix[partition] + "payloads"

    def operator_log(self) -> str:
        """Stream: what operators begin and end and what was noticed, until partition 0 has recorded it."""
        return self._prefix[0] + "operator"

    def session(self, partition: int, agent_id: str, session: str) -> str:
        """Hash with expiry: the last counters of an agent's sending session and its recent receipts."""
        return f"{self._prefix[partition]}from:{agent_id}:{session}"

    def seen(self, partition: int, bucket: int) -> str:
        """Hash with expiry: sender and message id -> decision, for ids that can occur again."""
        return f"{self._prefix[partition]}seen:{bucket}"

    def later(self, partition: int) -> str:
        """Sorted set: when each message for later is due."""
        return self._prefix[partition] + "later"

    def later_bodies(self, partition: int) -> str:
        """Hash: the sealed messages for later."""
        return self._prefix[partition] + "later:bodies"

    def dead(self, partition: int) -> str:
        """Stream: dead letters."""
        return self._prefix[partition] + "dead"

    def dropped(self, partition: int) -> str:
        """Sorted set: dead letters that were dropped, and when they end."""
        return self._prefix[partition] + "dead:dropped"

    def letter_order(self, partition: int, order_id: str) -> str:
        """Hash with expiry: what became of an order about a dead letter."""
        return f"{self._prefix[partition]}dead:order:{order_id}"

    def breakers(self, partition: int) -> str:
        """Hash: circuits that are open, and what operators want of them."""
        return self._prefix[partition] + "breakers"

    def scheduled(self, partition: int) -> str:
        """Hash: facts of the messages that are sent for later, and which of them are cancelled."""
        return self._prefix[partition] + "scheduled"

    def schedule_outcome(self, partition: int, scheduled: str) -> str:
        """Hash with expiry: what became of a scheduled message."""
        return f"{self._prefix[partition]}scheduled:{scheduled}"

    def resources(self, partition: int, kind: str) -> str:
        """Hash: name -> sealed record of each resource of a kind, as long as it is not over."""
        return f"{self._prefix[partition]}resources:{kind}"

    def finished_resource(self, partition: int, kind: str, name: str) -> str:
        """Hash with expiry: the last record of a resource that is over."""
        return f"{self._prefix[partition]}finished:{kind}:{name}"

    def fences(self, partition: int) -> str:
        """Hash: target and group -> the highest term that a message to it has come with."""
        return self._prefix[partition] + "fences"

    def held(self, partition: int) -> str:
        """Hash: facts of the messages that wait for a person, and what was decided about them."""
        return self._prefix[partition] + "held"

    def approval(self, partition: int, approval_id: str) -> str:
        """Hash with expiry: what became of a held message."""
        return f"{self._prefix[partition]}approval:{approval_id}"

    def topics(self, partition: int) -> str:
        """Hash: what is known of each topic, and who keeps a place in which logs."""
        return self._prefix[partition] + "topics"

    def topic_sizes(self, partition: int) -> str:
        """Hash: bytes of each topic's log."""
        return self._prefix[partition] + "topics:sizes"

    def topic(self, partition: int, name: str) -> str:
        """Stream: the log of a topic; the id of an entry is the number of its last message."""
        return f"{self._prefix[partition]}topic:{name}"

    def agents(self, partition: int) -> str:
        """Set: ids of the agents registered in this partition."""
        return self._prefix[partition] + "agents"

    def changed_agents(self, partition: int) -> str:
        """Stream: ids of agents whose registration or instances changed, one an entry."""
        return self._prefix[partition] + "agents:changed"

    def agent(self, partition: int, agent_id: str) -> str:
        """Hash: the registration of an agent and the status of its instances."""
        return f"{self._prefix[partition]}agent:{agent_id}"

    def server_user(self, agent_id: str) -> str:
        """Name of the server user of an agent that has one of its own."""
        return f"{self.namespace}-agent-{agent_id}"

    def role_user(self, role: str) -> str:
        """Name of the server user of one of the system's own roles."""
        return f"{self.namespace}-{role}"

    def state(self, partition: int, agent_id: str) -> str:
        """Hash: the state of an agent and its revision."""
        return f"{self._prefix[partition]}state:{agent_id}"

    def state_pattern(self) -> str:
        """What the keys of all states match, and perhaps others."""
        return f"{self.namespace}:{{*}}:state:*"

    def should_expire(self, key: bytes) -> bool:
        """Whether a key of this name always has an expiry."""
        return key.partition(b"}:")[2].startswith(_EXPIRING)

    def restore_mark(self, partition: int) -> str:
        """Hash: which backup is being restored, and how far that came; gone when it is done."""
        return self._prefix[partition] + "restore"

    def limit(self, partition: int, subject: str, window: str) -> str:
        """List with expiry: places taken of a rate limit, the running total at each moment."""
        return f"{self._prefix[partition]}limit:{subject}:{window}"
