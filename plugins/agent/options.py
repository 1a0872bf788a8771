"""What may be set of the agent plugin: the `options` of its namespaces."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field

Seconds = Annotated[float, Meta(ge=0.01, le=31_536_000)]


class DialectOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How one dialect of chat over HTTP is served.

    Attributes:
        enabled: whether it is.
        prefix: what its paths begin with; its name behind a slash where it is unset.
        cancel: whether a reader that goes away stops the turn; unset, as its front end has it.
    """

    enabled: bool = True
    prefix: str | UnsetType = UNSET
    cancel: bool | UnsetType = UNSET


class VoiceOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What users may say into a microphone.

    Attributes:
        max_bytes: of one recording.
        upload: for how long it may be on its way here, in seconds.
        keep: for how long it is kept at most, in seconds, whatever becomes of its turn.
        understanding: for how long a worker that has fetched it may take to start its turn, in
            seconds, beyond the start limit of a message.
        max_recordings: how many may be kept at a time, and how many more be on their way.
    """

    max_bytes: Annotated[int, Meta(ge=1, le=1 << 30)] = 10 << 20
    upload: Seconds = 60.0
    keep: Seconds = 120.0
    understanding: Seconds = 60.0
    max_recordings: Annotated[int, Meta(ge=1)] = 100


class ChatOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the broker waits, for agents and readers, in seconds; and chat over HTTP.

    Attributes:
        grace: for the owner of a turn that has lost its connection, and for one that was
            asked to cancel.
        stall: for the next event of a turn.
        tool_stall: the same while a tool call is open.
        compact_after: until what is retained of a turn that has ended is compacted.
        worker_wait: for a worker that could be given a message, and for one that has lost its
            connection with messages that it was given.
        start_limit: for a worker to start the turn that takes a message up.
        cancel_grace: for a reader over HTTP that has gone away, where that stops its turn.
        dialects: the settings of those that have other ones than they begin with.
        voice: what users may say into a microphone.
    """

    grace: Seconds = 10.0
    stall: Seconds = 120.0
    tool_stall: Seconds = 600.0
    compact_after: Seconds = 60.0
    worker_wait: Seconds = 2.0
    start_limit: Seconds = 30.0
    cancel_grace: Seconds = 10.0
    dialects: dict[str, DialectOptions] = field(default_factory=dict)
    voice: VoiceOptions = field(default_factory=VoiceOptions)
