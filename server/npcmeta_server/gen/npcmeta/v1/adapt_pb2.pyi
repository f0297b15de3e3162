import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from . import resources_pb2 as _resources_pb2
from . import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AdaptRequest(_message.Message):
    __slots__ = ("setup", "examples", "demonstration", "commit", "feedback", "discard")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    DEMONSTRATION_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    DISCARD_FIELD_NUMBER: _ClassVar[int]
    setup: AdaptSetup
    examples: _tensor_pb2.Examples
    demonstration: str
    commit: Commit
    feedback: Feedback
    discard: Discard
    def __init__(self, setup: _Optional[_Union[AdaptSetup, _Mapping]] = ..., examples: _Optional[_Union[_tensor_pb2.Examples, _Mapping]] = ..., demonstration: _Optional[str] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ..., feedback: _Optional[_Union[Feedback, _Mapping]] = ..., discard: _Optional[_Union[Discard, _Mapping]] = ...) -> None: ...

class AdaptSetup(_message.Message):
    __slots__ = ("npc", "from_scratch", "request_id", "time_budget")
    NPC_FIELD_NUMBER: _ClassVar[int]
    FROM_SCRATCH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_BUDGET_FIELD_NUMBER: _ClassVar[int]
    npc: str
    from_scratch: bool
    request_id: str
    time_budget: _duration_pb2.Duration
    def __init__(self, npc: _Optional[str] = ..., from_scratch: _Optional[bool] = ..., request_id: _Optional[str] = ..., time_budget: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Feedback(_message.Message):
    __slots__ = ("examples", "weight")
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    examples: _tensor_pb2.Examples
    weight: float
    def __init__(self, examples: _Optional[_Union[_tensor_pb2.Examples, _Mapping]] = ..., weight: _Optional[float] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Discard(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AdaptResponse(_message.Message):
    __slots__ = ("started", "accepted", "progress", "committed", "discarded")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_FIELD_NUMBER: _ClassVar[int]
    started: Started
    accepted: Accepted
    progress: Progress
    committed: Committed
    discarded: Discarded
    def __init__(self, started: _Optional[_Union[Started, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., committed: _Optional[_Union[Committed, _Mapping]] = ..., discarded: _Optional[_Union[Discarded, _Mapping]] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("npc", "archetype", "archetype_revision", "examples")
    NPC_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_FIELD_NUMBER: _ClassVar[int]
    ARCHETYPE_REVISION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    npc: str
    archetype: str
    archetype_revision: str
    examples: int
    def __init__(self, npc: _Optional[str] = ..., archetype: _Optional[str] = ..., archetype_revision: _Optional[str] = ..., examples: _Optional[int] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("examples", "total_examples")
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    examples: int
    total_examples: int
    def __init__(self, examples: _Optional[int] = ..., total_examples: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("step", "steps", "examples", "support_nll", "known", "more_examples")
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_NLL_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    MORE_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    step: int
    steps: int
    examples: int
    support_nll: float
    known: float
    more_examples: int
    def __init__(self, step: _Optional[int] = ..., steps: _Optional[int] = ..., examples: _Optional[int] = ..., support_nll: _Optional[float] = ..., known: _Optional[float] = ..., more_examples: _Optional[int] = ...) -> None: ...

class Committed(_message.Message):
    __slots__ = ("revision", "demonstrations", "left_out")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DEMONSTRATIONS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    revision: _resources_pb2.Revision
    demonstrations: _containers.RepeatedScalarFieldContainer[str]
    left_out: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, revision: _Optional[_Union[_resources_pb2.Revision, _Mapping]] = ..., demonstrations: _Optional[_Iterable[str]] = ..., left_out: _Optional[_Iterable[str]] = ...) -> None: ...

class Discarded(_message.Message):
    __slots__ = ("npc",)
    NPC_FIELD_NUMBER: _ClassVar[int]
    npc: str
    def __init__(self, npc: _Optional[str] = ...) -> None: ...

class AdaptOnceRequest(_message.Message):
    __slots__ = ("setup", "examples", "demonstrations", "feedback")
    SETUP_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    DEMONSTRATIONS_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    setup: AdaptSetup
    examples: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Examples]
    demonstrations: _containers.RepeatedScalarFieldContainer[str]
    feedback: _containers.RepeatedCompositeFieldContainer[Feedback]
    def __init__(self, setup: _Optional[_Union[AdaptSetup, _Mapping]] = ..., examples: _Optional[_Iterable[_Union[_tensor_pb2.Examples, _Mapping]]] = ..., demonstrations: _Optional[_Iterable[str]] = ..., feedback: _Optional[_Iterable[_Union[Feedback, _Mapping]]] = ...) -> None: ...
