from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Call(_message.Message):
    __slots__ = ("id", "hello", "cancel", "get_layout", "get_registration", "create_inboxes", "add_frames", "read_inbox", "read_pending", "read_replies", "trim_replies", "drop_replies", "settle", "claim", "was_handled", "mark_started", "forget_starts", "read_state", "write_state", "get_backlog", "read_logs", "read_group", "read_own", "create_group", "drop_groups", "acknowledge_entries", "list_consumers", "take_over", "leave_groups")
    ID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    GET_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    GET_REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    CREATE_INBOXES_FIELD_NUMBER: _ClassVar[int]
    ADD_FRAMES_FIELD_NUMBER: _ClassVar[int]
    READ_INBOX_FIELD_NUMBER: _ClassVar[int]
    READ_PENDING_FIELD_NUMBER: _ClassVar[int]
    READ_REPLIES_FIELD_NUMBER: _ClassVar[int]
    TRIM_REPLIES_FIELD_NUMBER: _ClassVar[int]
    DROP_REPLIES_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    WAS_HANDLED_FIELD_NUMBER: _ClassVar[int]
    MARK_STARTED_FIELD_NUMBER: _ClassVar[int]
    FORGET_STARTS_FIELD_NUMBER: _ClassVar[int]
    READ_STATE_FIELD_NUMBER: _ClassVar[int]
    WRITE_STATE_FIELD_NUMBER: _ClassVar[int]
    GET_BACKLOG_FIELD_NUMBER: _ClassVar[int]
    READ_LOGS_FIELD_NUMBER: _ClassVar[int]
    READ_GROUP_FIELD_NUMBER: _ClassVar[int]
    READ_OWN_FIELD_NUMBER: _ClassVar[int]
    CREATE_GROUP_FIELD_NUMBER: _ClassVar[int]
    DROP_GROUPS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGE_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LIST_CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    TAKE_OVER_FIELD_NUMBER: _ClassVar[int]
    LEAVE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    id: int
    hello: Hello
    cancel: Cancel
    get_layout: GetLayout
    get_registration: GetRegistration
    create_inboxes: CreateInboxes
    add_frames: AddFrames
    read_inbox: ReadInbox
    read_pending: ReadPending
    read_replies: ReadReplies
    trim_replies: TrimReplies
    drop_replies: DropReplies
    settle: Settle
    claim: Claim
    was_handled: WasHandled
    mark_started: MarkStarted
    forget_starts: ForgetStarts
    read_state: ReadState
    write_state: WriteState
    get_backlog: GetBacklog
    read_logs: ReadLogs
    read_group: ReadGroup
    read_own: ReadOwn
    create_group: CreateGroup
    drop_groups: DropGroups
    acknowledge_entries: AcknowledgeEntries
    list_consumers: ListConsumers
    take_over: TakeOver
    leave_groups: LeaveGroups
    def __init__(self, id: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., get_layout: _Optional[_Union[GetLayout, _Mapping]] = ..., get_registration: _Optional[_Union[GetRegistration, _Mapping]] = ..., create_inboxes: _Optional[_Union[CreateInboxes, _Mapping]] = ..., add_frames: _Optional[_Union[AddFrames, _Mapping]] = ..., read_inbox: _Optional[_Union[ReadInbox, _Mapping]] = ..., read_pending: _Optional[_Union[ReadPending, _Mapping]] = ..., read_replies: _Optional[_Union[ReadReplies, _Mapping]] = ..., trim_replies: _Optional[_Union[TrimReplies, _Mapping]] = ..., drop_replies: _Optional[_Union[DropReplies, _Mapping]] = ..., settle: _Optional[_Union[Settle, _Mapping]] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ..., was_handled: _Optional[_Union[WasHandled, _Mapping]] = ..., mark_started: _Optional[_Union[MarkStarted, _Mapping]] = ..., forget_starts: _Optional[_Union[ForgetStarts, _Mapping]] = ..., read_state: _Optional[_Union[ReadState, _Mapping]] = ..., write_state: _Optional[_Union[WriteState, _Mapping]] = ..., get_backlog: _Optional[_Union[GetBacklog, _Mapping]] = ..., read_logs: _Optional[_Union[ReadLogs, _Mapping]] = ..., read_group: _Optional[_Union[ReadGroup, _Mapping]] = ..., read_own: _Optional[_Union[ReadOwn, _Mapping]] = ..., create_group: _Optional[_Union[CreateGroup, _Mapping]] = ..., drop_groups: _Optional[_Union[DropGroups, _Mapping]] = ..., acknowledge_entries: _Optional[_Union[AcknowledgeEntries, _Mapping]] = ..., list_consumers: _Optional[_Union[ListConsumers, _Mapping]] = ..., take_over: _Optional[_Union[TakeOver, _Mapping]] = ..., leave_groups: _Optional[_Union[LeaveGroups, _Mapping]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("id", "layout", "partitions", "error", "done", "welcome", "layout_now", "registration", "added", "frames", "settled", "number", "state", "backlog", "entries", "consumers")
    ID_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_NOW_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    id: int
    layout: int
    partitions: int
    error: Error
    done: Done
    welcome: Welcome
    layout_now: Layout
    registration: Fields
    added: AddedFrames
    frames: InboxFrames
    settled: Settled
    number: Number
    state: StoredState
    backlog: Backlog
    entries: LogEntries
    consumers: Consumers
    def __init__(self, id: _Optional[int] = ..., layout: _Optional[int] = ..., partitions: _Optional[int] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., layout_now: _Optional[_Union[Layout, _Mapping]] = ..., registration: _Optional[_Union[Fields, _Mapping]] = ..., added: _Optional[_Union[AddedFrames, _Mapping]] = ..., frames: _Optional[_Union[InboxFrames, _Mapping]] = ..., settled: _Optional[_Union[Settled, _Mapping]] = ..., number: _Optional[_Union[Number, _Mapping]] = ..., state: _Optional[_Union[StoredState, _Mapping]] = ..., backlog: _Optional[_Union[Backlog, _Mapping]] = ..., entries: _Optional[_Union[LogEntries, _Mapping]] = ..., consumers: _Optional[_Union[Consumers, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "hints", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    hints: _containers.RepeatedScalarFieldContainer[str]
    details: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., hints: _Optional[_Iterable[str]] = ..., details: _Optional[str] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Hello(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("namespace", "agent_id", "time_ms")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    agent_id: str
    time_ms: int
    def __init__(self, namespace: _Optional[str] = ..., agent_id: _Optional[str] = ..., time_ms: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("call",)
    CALL_FIELD_NUMBER: _ClassVar[int]
    call: int
    def __init__(self, call: _Optional[int] = ...) -> None: ...

class GetLayout(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Layout(_message.Message):
    __slots__ = ("has_changed",)
    HAS_CHANGED_FIELD_NUMBER: _ClassVar[int]
    has_changed: bool
    def __init__(self, has_changed: bool = ...) -> None: ...

class GetRegistration(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Fields(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.ScalarMap[str, bytes]
    def __init__(self, fields: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("header", "body")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    body: bytes
    def __init__(self, header: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class CreateInboxes(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AddFrames(_message.Message):
    __slots__ = ("frames",)
    class One(_message.Message):
        __slots__ = ("partition", "lane", "frame")
        PARTITION_FIELD_NUMBER: _ClassVar[int]
        LANE_FIELD_NUMBER: _ClassVar[int]
        FRAME_FIELD_NUMBER: _ClassVar[int]
        partition: int
        lane: str
        frame: Frame
        def __init__(self, partition: _Optional[int] = ..., lane: _Optional[str] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[AddFrames.One]
    def __init__(self, frames: _Optional[_Iterable[_Union[AddFrames.One, _Mapping]]] = ...) -> None: ...

class AddedFrames(_message.Message):
    __slots__ = ("refusals",)
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    refusals: _containers.RepeatedCompositeFieldContainer[Error]
    def __init__(self, refusals: _Optional[_Iterable[_Union[Error, _Mapping]]] = ...) -> None: ...

class ReadInbox(_message.Message):
    __slots__ = ("high", "normal", "low", "block_ms", "instance")
    HIGH_FIELD_NUMBER: _ClassVar[int]
    NORMAL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    BLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    high: int
    normal: int
    low: int
    block_ms: int
    instance: str
    def __init__(self, high: _Optional[int] = ..., normal: _Optional[int] = ..., low: _Optional[int] = ..., block_ms: _Optional[int] = ..., instance: _Optional[str] = ...) -> None: ...

class ReadPending(_message.Message):
    __slots__ = ("instance",)
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance: str
    def __init__(self, instance: _Optional[str] = ...) -> None: ...

class InboxFrame(_message.Message):
    __slots__ = ("lane", "entry", "frame", "marks")
    LANE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    lane: str
    entry: str
    frame: Frame
    marks: str
    def __init__(self, lane: _Optional[str] = ..., entry: _Optional[str] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., marks: _Optional[str] = ...) -> None: ...

class InboxFrames(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[InboxFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[InboxFrame, _Mapping]]] = ...) -> None: ...

class ReadReplies(_message.Message):
    __slots__ = ("after", "block_ms", "instance")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    after: str
    block_ms: int
    instance: str
    def __init__(self, after: _Optional[str] = ..., block_ms: _Optional[int] = ..., instance: _Optional[str] = ...) -> None: ...

class TrimReplies(_message.Message):
    __slots__ = ("to", "instance")
    TO_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    to: str
    instance: str
    def __init__(self, to: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...

class DropReplies(_message.Message):
    __slots__ = ("instance",)
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance: str
    def __init__(self, instance: _Optional[str] = ...) -> None: ...

class Settle(_message.Message):
    __slots__ = ("items", "instance")
    class One(_message.Message):
        __slots__ = ("lane", "entry", "total", "positions", "expected_revision", "state", "mark")
        LANE_FIELD_NUMBER: _ClassVar[int]
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        TOTAL_FIELD_NUMBER: _ClassVar[int]
        POSITIONS_FIELD_NUMBER: _ClassVar[int]
        EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
        STATE_FIELD_NUMBER: _ClassVar[int]
        MARK_FIELD_NUMBER: _ClassVar[int]
        lane: str
        entry: str
        total: int
        positions: _containers.RepeatedScalarFieldContainer[int]
        expected_revision: int
        state: bytes
        mark: str
        def __init__(self, lane: _Optional[str] = ..., entry: _Optional[str] = ..., total: _Optional[int] = ..., positions: _Optional[_Iterable[int]] = ..., expected_revision: _Optional[int] = ..., state: _Optional[bytes] = ..., mark: _Optional[str] = ...) -> None: ...
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[Settle.One]
    instance: str
    def __init__(self, items: _Optional[_Iterable[_Union[Settle.One, _Mapping]]] = ..., instance: _Optional[str] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, results: _Optional[_Iterable[int]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("most", "alive_ms", "silent_ms", "instance")
    MOST_FIELD_NUMBER: _ClassVar[int]
    ALIVE_MS_FIELD_NUMBER: _ClassVar[int]
    SILENT_MS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    most: int
    alive_ms: int
    silent_ms: int
    instance: str
    def __init__(self, most: _Optional[int] = ..., alive_ms: _Optional[int] = ..., silent_ms: _Optional[int] = ..., instance: _Optional[str] = ...) -> None: ...

class WasHandled(_message.Message):
    __slots__ = ("mark",)
    MARK_FIELD_NUMBER: _ClassVar[int]
    mark: str
    def __init__(self, mark: _Optional[str] = ...) -> None: ...

class MarkStarted(_message.Message):
    __slots__ = ("lane", "entry", "position", "instance")
    LANE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    lane: str
    entry: str
    position: int
    instance: str
    def __init__(self, lane: _Optional[str] = ..., entry: _Optional[str] = ..., position: _Optional[int] = ..., instance: _Optional[str] = ...) -> None: ...

class ForgetStarts(_message.Message):
    __slots__ = ("places", "instance")
    class One(_message.Message):
        __slots__ = ("lane", "entry", "position")
        LANE_FIELD_NUMBER: _ClassVar[int]
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        POSITION_FIELD_NUMBER: _ClassVar[int]
        lane: str
        entry: str
        position: int
        def __init__(self, lane: _Optional[str] = ..., entry: _Optional[str] = ..., position: _Optional[int] = ...) -> None: ...
    PLACES_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedCompositeFieldContainer[ForgetStarts.One]
    instance: str
    def __init__(self, places: _Optional[_Iterable[_Union[ForgetStarts.One, _Mapping]]] = ..., instance: _Optional[str] = ...) -> None: ...

class Number(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...

class ReadState(_message.Message):
    __slots__ = ("without_data",)
    WITHOUT_DATA_FIELD_NUMBER: _ClassVar[int]
    without_data: bool
    def __init__(self, without_data: bool = ...) -> None: ...

class StoredState(_message.Message):
    __slots__ = ("revision", "data", "ordered", "is_written")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ORDERED_FIELD_NUMBER: _ClassVar[int]
    IS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    revision: int
    data: bytes
    ordered: int
    is_written: bool
    def __init__(self, revision: _Optional[int] = ..., data: _Optional[bytes] = ..., ordered: _Optional[int] = ..., is_written: bool = ...) -> None: ...

class WriteState(_message.Message):
    __slots__ = ("expected_revision", "data", "group", "term")
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    expected_revision: int
    data: bytes
    group: str
    term: int
    def __init__(self, expected_revision: _Optional[int] = ..., data: _Optional[bytes] = ..., group: _Optional[str] = ..., term: _Optional[int] = ...) -> None: ...

class GetBacklog(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Backlog(_message.Message):
    __slots__ = ("unsettled",)
    class UnsettledEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    UNSETTLED_FIELD_NUMBER: _ClassVar[int]
    unsettled: _containers.ScalarMap[str, int]
    def __init__(self, unsettled: _Optional[_Mapping[str, int]] = ...) -> None: ...

class ReadLogs(_message.Message):
    __slots__ = ("partition", "after", "block_ms")
    class AfterEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    BLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    partition: int
    after: _containers.ScalarMap[str, str]
    block_ms: int
    def __init__(self, partition: _Optional[int] = ..., after: _Optional[_Mapping[str, str]] = ..., block_ms: _Optional[int] = ...) -> None: ...

class ReadGroup(_message.Message):
    __slots__ = ("partition", "topics", "pattern", "block_ms", "instance")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    BLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    partition: int
    topics: _containers.RepeatedScalarFieldContainer[str]
    pattern: str
    block_ms: int
    instance: str
    def __init__(self, partition: _Optional[int] = ..., topics: _Optional[_Iterable[str]] = ..., pattern: _Optional[str] = ..., block_ms: _Optional[int] = ..., instance: _Optional[str] = ...) -> None: ...

class ReadOwn(_message.Message):
    __slots__ = ("partition", "topic", "pattern", "instance")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    partition: int
    topic: str
    pattern: str
    instance: str
    def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ..., pattern: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...

class LogEntries(_message.Message):
    __slots__ = ("entries",)
    class One(_message.Message):
        __slots__ = ("topic", "entry", "frame", "is_gone")
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        FRAME_FIELD_NUMBER: _ClassVar[int]
        IS_GONE_FIELD_NUMBER: _ClassVar[int]
        topic: str
        entry: str
        frame: Frame
        is_gone: bool
        def __init__(self, topic: _Optional[str] = ..., entry: _Optional[str] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., is_gone: bool = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LogEntries.One]
    def __init__(self, entries: _Optional[_Iterable[_Union[LogEntries.One, _Mapping]]] = ...) -> None: ...

class CreateGroup(_message.Message):
    __slots__ = ("partition", "topic", "pattern", "after")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    partition: int
    topic: str
    pattern: str
    after: str
    def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ..., pattern: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class DropGroups(_message.Message):
    __slots__ = ("partition", "topic", "pattern")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    partition: int
    topic: str
    pattern: str
    def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ..., pattern: _Optional[str] = ...) -> None: ...

class AcknowledgeEntries(_message.Message):
    __slots__ = ("entries", "pattern")
    class One(_message.Message):
        __slots__ = ("partition", "topic", "entry")
        PARTITION_FIELD_NUMBER: _ClassVar[int]
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        partition: int
        topic: str
        entry: str
        def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ..., entry: _Optional[str] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AcknowledgeEntries.One]
    pattern: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AcknowledgeEntries.One, _Mapping]]] = ..., pattern: _Optional[str] = ...) -> None: ...

class ListConsumers(_message.Message):
    __slots__ = ("partition", "topic", "pattern")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    partition: int
    topic: str
    pattern: str
    def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ..., pattern: _Optional[str] = ...) -> None: ...

class Consumers(_message.Message):
    __slots__ = ("consumers",)
    class One(_message.Message):
        __slots__ = ("name", "idle_ms", "in_hand")
        NAME_FIELD_NUMBER: _ClassVar[int]
        IDLE_MS_FIELD_NUMBER: _ClassVar[int]
        IN_HAND_FIELD_NUMBER: _ClassVar[int]
        name: str
        idle_ms: int
        in_hand: int
        def __init__(self, name: _Optional[str] = ..., idle_ms: _Optional[int] = ..., in_hand: _Optional[int] = ...) -> None: ...
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    consumers: _containers.RepeatedCompositeFieldContainer[Consumers.One]
    def __init__(self, consumers: _Optional[_Iterable[_Union[Consumers.One, _Mapping]]] = ...) -> None: ...

class TakeOver(_message.Message):
    __slots__ = ("partition", "topic", "pattern", "gone", "instance")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    partition: int
    topic: str
    pattern: str
    gone: str
    instance: str
    def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ..., pattern: _Optional[str] = ..., gone: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...

class LeaveGroups(_message.Message):
    __slots__ = ("places", "pattern", "instance")
    class One(_message.Message):
        __slots__ = ("partition", "topic")
        PARTITION_FIELD_NUMBER: _ClassVar[int]
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        partition: int
        topic: str
        def __init__(self, partition: _Optional[int] = ..., topic: _Optional[str] = ...) -> None: ...
    PLACES_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    places: _containers.RepeatedCompositeFieldContainer[LeaveGroups.One]
    pattern: str
    instance: str
    def __init__(self, places: _Optional[_Iterable[_Union[LeaveGroups.One, _Mapping]]] = ..., pattern: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...
