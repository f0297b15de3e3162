"""Every limit on what comes over the wire. docs/operating.md shows them; a test holds the table against this file."""

MAX_FILE_MESSAGE_BYTES = 64 << 20
"""bytes in a message that brings a file at once, once it is unpacked: UploadArchetypeOnce and ImportNpc"""
MAX_TENSOR_MESSAGE_BYTES = 8 << 20
"""the same of observations, examples, or pieces of a file: acting, adapting, CreateDemonstration, inference"""
MAX_PLAIN_MESSAGE_BYTES = 1 << 20
"""the same everywhere else"""
HEAD_SECONDS = 20
"""seconds that the head of a request over HTTP takes to come"""
BODY_SECONDS = 60
"""seconds that a request over HTTP takes to come, unless it is a stream"""
IDLE_SECONDS = 75
"""seconds for which a connection over HTTP is kept between two requests; load balancers keep theirs for 60"""
MAX_CALLS = 10_000
"""calls and streams under way at a time (`--max-calls`)"""
MAX_NPCS = 10_000_000
"""NPCs in the store (`--max-npcs`)"""
MAX_EXAMPLES = 20_000
"""examples of one NPC"""
MAX_FILE_HEADER = 1 << 20
"""bytes in the header of an NPC's file"""
MAX_ROWS = 20_000
"""NPCs that decide in one tick, or in one ActOnce"""
MAX_PARTS = 1024
"""parts of a tick"""
MAX_GROUPS = 256
"""groups of an Act stream"""
MAX_CHANGES = 256
"""groups, and removals, in one cast"""
MAX_MEMBERS_AT_ONCE = 10_000
"""members of one group in one cast; what it takes to read them must not hold up other streams"""
MAX_MEMBERS = 100_000
"""members of an Act stream"""
MAX_INDEX = 999_999
"""the number that a member goes by"""
MAX_ADAPTATIONS = 10_000
"""adaptations and exports that wait for their turn"""
MAX_ADAPTATIONS_OF_ONE = 1_000
"""the same of one client: of a token, or where there are none, of a connection"""
MAX_LESSON_BYTES = 1 << 30
"""bytes that examples hold while somebody adapts to them, all together (`--lesson-mebibytes`)"""
MAX_WEIGHT = 1e6
"""the weight of an example"""
MAX_BUDGET_SECONDS = 3600
"""seconds of a time budget"""
MAX_PAGE = 1000
"""entries in a page of a list"""
MAX_ID = 63
"""characters in an id"""
MAX_DISPLAY_NAME = 120
"""characters in an NPC's display_name"""
MAX_REQUEST_ID = 100
"""characters in a request_id"""
MAX_REQUESTS = 1_000_000
"""requests whose request_id the store remembers; the oldest are forgotten"""
REQUEST_SECONDS = 86_400
"""seconds for which it does"""
MAX_SEED = (1 << 63) - 1
"""an NPC's seed"""
MAX_GAMES = 256
"""games with ML-Agents that are connected at a time"""
MAX_ARCHETYPE_BYTES = 256 << 20
"""bytes of an archetype's file that is uploaded"""
UPLOAD_SECONDS = 600
"""seconds that it takes to come"""
MAX_UPLOADS = 2
"""archetypes that are uploaded at a time"""
MAX_UPGRADED = 10_000
"""NPCs that an upgrade names, unless it is of all"""
