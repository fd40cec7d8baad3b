//! Every limit of the system, with its reason.
//!
//! A limit that decides a reply is a constant or part of the replicated state, never a setting of
//! one node: replicas must agree.

/// Slots in the cluster map. Redis Cluster's number, so that `CLUSTER KEYSLOT` agrees.
pub const SLOTS: u16 = 16_384;

/// Longest key. Long enough for any name, short enough to be held in many places at once.
pub const KEY_BYTES_MAX: usize = 64 << 10;

/// Smallest segment width, log2 of bits: one container.
pub const SEGMENT_WIDTH_BITS_MIN: u8 = 16;

/// Largest segment width, log2 of bits: 8 MiB dense, the most that one request should touch.
pub const SEGMENT_WIDTH_BITS_MAX: u8 = 26;

/// Default number of bits in a bitmap: Redis's 512 MiB.
pub const BITMAP_BITS_DEFAULT: u64 = 1 << 32;

/// Most bits that a bitmap may be allowed to have.
pub const BITMAP_BITS_MAX: u64 = 1 << 42;

/// Largest id of a presence bitmap: its 32 bits must lie in a bitmap.
pub const PRESENCE_ID_MAX: u64 = BITMAP_BITS_MAX / 32 - 1;

/// Most steps of one formula. A year of days takes 729.
pub const FORMULA_STEPS_MAX: usize = 4096;

/// Most operands of one expression: their first segments may meet in one router, a few hundred KiB
/// each.
pub const EXPRESSION_KEYS_MAX: usize = 1024;

/// Deepest nesting of an expression's parentheses and complements: its reader recurses, and people
/// nest three deep.
pub const EXPRESSION_DEPTH_MAX: usize = 100;

/// Most formulas that one request counts: a retention matrix of 60 by 60.
pub const FORMULAS_MAX: usize = 4096;

/// Most tasks of a router that no request waits for: each holds a key, which may have 64 KiB. One
/// more is waited for by the request that it comes of.
pub const UNAWAITED_TASKS_MAX: usize = 256;

/// Most values that one node is asked to evaluate over; each is a segment of a group of its own.
pub const FOLD_VALUES_MAX: usize = 256;

/// Most bytes of the segments that one node is asked to evaluate over: all values of the default
/// width, and eight of the widest.
pub const FOLD_BYTES_MAX: u64 = 64 << 20;
const _: () = assert!(FOLD_BYTES_MAX == 8 * (1 << (SEGMENT_WIDTH_BITS_MAX - 3)));

/// Most steps of one histogram, so that an answer stays small.
pub const HISTOGRAM_STEPS_MAX: u64 = 1 << 16;

/// Most offsets that one request lists: 8 MB as numbers of a reply, a page and not a value.
pub const LIST_OFFSETS_MAX: u64 = 1 << 20;

/// Most bits of a range that one request sets, clears or turns over: 2^20 full containers, which
/// take 2 MiB in a log entry.
pub const MERGE_RANGE_BITS_MAX: u64 = 1 << 36;

/// Longest name in an id space: a UUID, a mail address, a URL.
pub const NAME_BYTES_MAX: usize = 4096;

/// Longest glob pattern, and longest name of a channel: matching takes the product of both lengths,
/// and a message is matched with every pattern that somebody listens to.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Most bytes of the replies to one message of a gRPC pipeline; more than one value sent whole.
pub const GRPC_REPLIES_BYTES_MAX: usize = 1 << 30;

/// Seconds that an import by gRPC may take to be received, beside what its bytes earn: it holds
/// memory meanwhile.
pub const GRPC_IMPORT_SECS_MIN: u64 = 30;

/// Seconds that an import by gRPC waits for its next piece, whatever the pieces before have earned:
/// a client that falls silent after a large one holds its memory no longer.
pub const GRPC_IMPORT_PAUSE_SECS_MAX: u64 = 30;

/// Bytes of an import by gRPC that earn it another second: a megabit a second.
pub const GRPC_IMPORT_BYTES_PER_SEC_MIN: u64 = 128 << 10;

/// Most bytes that the imports which are being received by gRPC take together, on one node.
pub const GRPC_GATHERED_BYTES_MAX: usize = 1 << 30;

/// Requests of so many bytes are read while other tasks go on elsewhere: a millisecond or so.
pub const ASIDE_BYTES: usize = 256 << 10;

/// Most names of one command: some milliseconds under a group's lock.
pub const NAMES_MAX: usize = 10_000;

/// Most names of one id space: ids fit 32 bits, and the names some tens of GB.
pub const SPACE_NAMES_MAX: u64 = 1 << 32;

/// Largest value sent or received whole (`proto-max-bulk-len`).
pub const BULK_BYTES_MAX: usize = 512 << 20;

/// Most elements of one request (Redis: 1024 * 1024).
pub const REQUEST_ARGS_MAX: usize = 1 << 20;

/// Longest inline request and longest line of a frame (Redis: 64 KiB).
pub const INLINE_BYTES_MAX: usize = 64 << 10;

/// Most elements of one request before authentication (Redis: 10).
pub const REQUEST_ARGS_UNAUTHENTICATED_MAX: usize = 10;

/// Longest argument before authentication (Redis: 16 KiB).
pub const BULK_BYTES_UNAUTHENTICATED_MAX: usize = 16 << 10;

/// Values up to this many bytes are kept flat, beside their key: an `INCR` counter or a handful of
/// permission bits must not cost a container.
pub const SMALL_VALUE_BYTES_MAX: usize = 64;

/// Most bytes of one request, all its arguments together (Redis: `client-query-buffer-limit`,
/// 1 GiB). Below 2^32, so that a decoder can note an argument in eight bytes.
pub const REQUEST_BYTES_MAX: usize = 1 << 30;

/// Arguments whose ranges a RESP decoder keeps room for between requests. Enough for any usual
/// request; one of a million arguments must not pin 8 MiB for as long as its connection lives.
pub const REQUEST_ARGS_RETAINED_MAX: usize = 1024;

/// Bytes of inline arguments that a RESP decoder keeps room for between requests. People type less.
pub const INLINE_BYTES_RETAINED_MAX: usize = 4 << 10;

/// Deepest nesting of a reply that our own clients read. Ours nest three deep.
pub const REPLY_DEPTH_MAX: usize = 32;

/// Most frames in one reply that our own clients read: `KEYS *` of a large keyspace, and no more
/// than a client can hold.
pub const REPLY_ELEMENTS_MAX: usize = 1 << 24;

/// Default length of a log file: large enough that a new one is rare, small enough that a lagging
/// group holds little.
pub const WAL_FILE_BYTES_DEFAULT: u64 = 64 << 20;

/// Shortest log file: its header and a few records, for tests.
pub const WAL_FILE_BYTES_MIN: u64 = 8 << 10;

/// Longest log file: an offset in it fits a frame's 32-bit length with room to spare.
pub const WAL_FILE_BYTES_MAX: u64 = 1 << 30;

/// Longest payload of one log entry: twice the largest value, so that any request fits one entry.
pub const WAL_ENTRY_BYTES_MAX: usize = 1 << 30;

/// Longest vote, in bytes as its owner encodes it: a term and a node take 24.
pub const WAL_VOTE_BYTES_MAX: usize = 256;

/// Default bound on the bytes that wait for the log's thread: a second of a fast disk's writing.
pub const WAL_PENDING_BYTES_DEFAULT: usize = 256 << 20;

/// A snapshot file's chunk: a checksum every MiB finds damage early and bounds a reader's memory.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// Longest description in a snapshot's header: log position and membership take far less.
pub const SNAPSHOT_META_BYTES_MAX: usize = 1 << 20;

/// Most segments looked at to find the groups of a range of bits. Past it all groups are named:
/// that many segments touch nearly every slot anyway.
pub const PLACEMENT_SEGMENTS_EXAMINED_MAX: usize = 1 << 16;

/// Commands of one pipeline that are answered together. More gains nothing and delays the first.
pub const TURN_COMMANDS_MAX: usize = 1024;

/// Bytes of queued requests and replies after which a pipeline is answered as far as it has come,
/// so that a client cannot make us hold more than this and one reply.
pub const TURN_BYTES_MAX: usize = 1 << 20;

/// A session's first read buffer: some hundred pipelined bit commands, and cheap for ten thousand
/// idle clients.
pub const SESSION_BUFFER_BYTES: usize = 16 << 10;

/// Buffers longer than this go back to the allocator once a session has no use for them.
pub const SESSION_BUFFER_RETAINED_BYTES_MAX: usize = 128 << 10;

/// Most bytes that a session's read buffer grows by at a time: room follows what has arrived, not
/// what was announced.
pub const SESSION_BUFFER_GROWTH_BYTES_MAX: usize = 4 << 20;

/// Default of `maxclients` (Redis: 10 000).
pub const CLIENTS_MAX_DEFAULT: usize = 10_000;

/// Seconds without progress after which a client that does not read its replies is dropped.
pub const CLIENT_WRITE_STALL_SECS_MAX: u64 = 60;

/// Bytes that one MULTI may queue, its steps' own size included, and that the keys of WATCH may
/// take: enough for a million commands, and far below what a node has.
pub const TRANSACTION_BYTES_MAX: usize = 256 << 20;

/// Room made in advance for a list in a log entry, in items: a length that lies must not cost
/// memory.
pub const ENTRY_LIST_CAPACITY_MAX: usize = 64;

/// Farthest relative expiry, in milliseconds: added to any log time before the year 2109 it stays
/// within 63 bits, which is what Redis asks of an expiry.
pub const EXPIRY_MILLIS_MAX: i64 = i64::MAX - (1 << 42);

/// Rows of the order of expiry that one log entry drops. The rest stay, absent by their expiry, for
/// the entries to come: no entry takes long because many keys expire at once.
pub const EXPIRED_DROPPED_MAX: usize = 64;

/// How long a part stays after its expiry, for its home to prolong it: the two groups' clocks
/// differ, and a write must not find the bits gone that home still promises.
pub const PART_GRACE_MS: u64 = 10_000;

/// How long a dropped version is remembered by log time, so that leave given before the drop cannot
/// bring a part back after it. Far beyond any deadline.
pub const DROPPED_KEPT_MS: u64 = 300_000;

/// How long a reserved version may be published, by log time. Building the largest value takes
/// seconds.
pub const RESERVED_KEPT_MS: u64 = 600_000;

/// Bytes of a computation that are worth the way to another thread: about 50 microseconds.
pub const WORK_BYTES_MIN: u64 = 256 << 10;

/// Longest block of a snapshot: what is read before its checksum is known.
pub const SNAPSHOT_BLOCK_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(BITMAP_BITS_DEFAULT <= BITMAP_BITS_MAX);
const _: () = assert!(BITMAP_BITS_DEFAULT / 8 == BULK_BYTES_MAX as u64);
const _: () = assert!(BITMAP_BITS_MAX >> SEGMENT_WIDTH_BITS_MIN <= 1 << 32);
const _: () = assert!(BULK_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < u32::MAX as usize);
const _: () = assert!(TRANSACTION_BYTES_MAX <= REQUEST_BYTES_MAX);
const _: () = assert!(WAL_FILE_BYTES_MIN <= WAL_FILE_BYTES_DEFAULT);
const _: () = assert!(WAL_FILE_BYTES_DEFAULT <= WAL_FILE_BYTES_MAX);
const _: () = assert!(BULK_BYTES_MAX * 2 <= WAL_ENTRY_BYTES_MAX);

/// Most bytes of ops in one log entry, unless one batch alone is longer: an entry is written,
/// sent and applied in one piece, and must not hold up the disk or a reader for long.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;

/// Most bytes of ops in one batch: a batch is never divided, so its entry, whose head takes a few
/// bytes more, must fit the log.
pub const BATCH_BYTES_MAX: usize = WAL_ENTRY_BYTES_MAX - (4 << 10);

/// Most ops in one log entry: applying them holds the group's lock, a millisecond or so.
pub const ENTRY_OPS_MAX: usize = 16 << 10;

/// Most entries of a group between proposal and reply. Two: one is synced while the next one
/// gathers and the last one is answered. More make smaller entries, and each entry has its price:
/// with 50 clients that wait for each reply, four took a third off the rate of two.
pub const GROUP_PROPOSALS_MAX: usize = 2;

/// Most bytes of ops that wait in a group's queue; one batch alone may exceed it.
pub const GROUP_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Most batches that wait in a group's queue.
pub const GROUP_QUEUE_BATCHES_MAX: usize = 64 << 10;

/// Most heavy computations of a node's readers that run or wait: each keeps its operands in memory.
pub const WORK_JOBS_MAX: usize = 1024;

/// Most bytes that the heavy computations of a node's readers touch, all that run or wait together:
/// a core reads them in some seconds, and who comes later is answered sooner by a refusal. What one
/// caller asks for may exceed it while nothing waits.
pub const WORK_BYTES_MAX: u64 = 16 << 30;

/// Bytes of a computation up to which it goes before larger ones: a core touches them in about a
/// millisecond.
pub const WORK_SMALL_BYTES_MAX: u64 = 4 << 20;

/// Most bytes of small computations that go before a large one that waits: some tens of
/// milliseconds, so that small ones without end cannot keep it out.
pub const WORK_TURN_BYTES_MAX: u64 = 256 << 20;

/// Most replaced values that wait to be freed on the threads for computations. Past it they are
/// freed by who replaced them, so that memory is not given out faster than it comes back.
pub const WORK_DISCARDS_MAX: usize = 16;

const _: () = assert!(WORK_BYTES_MIN <= WORK_SMALL_BYTES_MAX);
// Small ones, which are bounded in number alone, stay within the bytes for all.
const _: () = assert!(WORK_SMALL_BYTES_MAX * WORK_JOBS_MAX as u64 <= WORK_BYTES_MAX);

/// Most bytes of a group's share of a combination that travel in place of the operation: replicas
/// write them in less time than they would combine.
pub const SHORT_RESULT_BYTES_MAX: u64 = 64 << 10;

/// From so many bytes on, as many as the longest operand's for each operand, groups are asked
/// whether a result is short before each replica combines them.
pub const SHORT_RESULT_OPERANDS_MIN: u64 = 256 << 10;

/// Most bits of a value that one staging op carries: with [`ENTRY_BYTES_MAX`] in mind, 4 MiB dense.
pub const STAGE_BITS_MAX: u64 = 1 << 25;

/// Most times that a plan starts again because a key changed under it. Each start takes a change
/// by somebody else, so this many in one request means a key that is not worth waiting for.
pub const PLAN_ATTEMPTS_MAX: usize = 64;

/// Most keys that one SCAN looks at, whatever its COUNT: it walks under the group's lock, and this
/// many take about a millisecond.
pub const SCAN_KEYS_EXAMINED_MAX: u64 = 10_000;

/// Longest address of a node, `host:port`: a DNS name is at most 253 bytes.
pub const CLUSTER_ADDRESS_BYTES_MAX: usize = 300;

/// Longest state of a cluster that is read: slots and groups take 160 KiB at most, and a thousand
/// nodes and ten thousand replicas as much again.
pub const CLUSTER_STATE_BYTES_MAX: usize = 4 << 20;

/// Bytes of calls or answers after which a frame between nodes is closed: large enough that its own
/// cost is nothing, small enough that what comes next waits a millisecond at most.
pub const RPC_FRAME_BYTES: usize = 1 << 20;

/// Bodies longer than this take the second link to a node, and answers longer than this go in
/// pieces of it, so that a heartbeat never waits behind megabytes.
pub const RPC_PIECE_BYTES: usize = 256 << 10;

/// Longest message between nodes: a whole log entry and what is said about it.
pub const RPC_MESSAGE_BYTES_MAX: usize = WAL_ENTRY_BYTES_MAX + (1 << 20);

/// What a router's numbering adds to a batch at most; its own batches are shorter than
/// [`BATCH_BYTES_MAX`] by this.
pub const RPC_NUMBERING_BYTES_MAX: usize = 64;

/// Most calls of one link without an answer: ten milliseconds' worth at the highest rates.
pub const LINK_CALLS_MAX: usize = 8 << 10;

/// Most bytes of calls on one link without an answer; one call alone may exceed it.
pub const LINK_BYTES_MAX: usize = 128 << 20;

/// Most batches of one group that a router has on the way. A second one leaves only with
/// [`SENDER_LOAD_BYTES`]: what waits for the first one's answer makes one batch, and small batches
/// cost as much as large ones.
pub const SENDER_FLIGHTS_MAX: usize = 2;

/// Bytes of waiting requests that are worth a call of their own while another one is on its way:
/// some two hundred SETBITs.
pub const SENDER_LOAD_BYTES: usize = 4 << 10;

/// Bytes of waiting requests that wait for no others: the rest of a call costs little beside them.
pub const SENDER_GATHER_BYTES_MAX: usize = 4 * SENDER_LOAD_BYTES;

/// Most bytes that wait for their way to one group; one batch alone may exceed it.
pub const SENDER_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Most requests that wait for their way to one group.
pub const SENDER_QUEUE_REQUESTS_MAX: usize = 64 << 10;

const _: () = assert!(RPC_PIECE_BYTES <= RPC_FRAME_BYTES);
const _: () = assert!(BATCH_BYTES_MAX < RPC_MESSAGE_BYTES_MAX);

/// Most sessions of routers that a group keeps: one a router, and those of routers that are gone
/// until they end. More than any cluster has routers.
pub const SESSIONS_MAX: usize = 1024;

/// Longest outcomes of a batch, encoded, that a session keeps for a repeat. Those of ten thousand
/// bit commands fit; a longer answer holds whole values, and a router that lost it says so.
pub const SESSION_REPLY_BYTES_MAX: usize = 64 << 10;

/// Most bytes of outcomes that all sessions of a group keep together: they are replicated state, in
/// memory and in every snapshot.
pub const SESSIONS_REPLY_BYTES_MAX: u64 = 64 << 20;

/// Most applied batches of a session without a confirmed answer: far more than a router has on
/// their way to one group, whose queue takes them one entry at a time.
pub const SESSION_WINDOW_MAX: usize = 64;

/// How long a session stays without a batch, by log time. Far beyond any deadline, so that whoever
/// may still repeat a batch finds it.
pub const SESSION_IDLE_MS_MAX: u64 = 300_000;

const _: () = assert!(SESSION_REPLY_BYTES_MAX as u64 <= SESSIONS_REPLY_BYTES_MAX);

/// First pause of a router before it asks again a group that does not have its slots yet.
pub const REROUTE_PAUSE_MS_MIN: u64 = 2;

/// Longest such pause: it doubles up to here, so that a group that takes over is found soon and one
/// that is away is not asked often.
pub const REROUTE_PAUSE_MS_MAX: u64 = 64;

/// Bytes of entries in one message from a leader to a follower, unless one entry alone is longer:
/// large enough that a message's own cost is nothing, small enough that its loss is cheap.
pub const APPEND_BYTES: usize = 1 << 20;

/// Most messages with entries on their way to one follower of one group.
pub const APPENDS_MAX: usize = 8;

/// Most bytes of such messages, unless one alone is longer: what is longer than
/// [`RPC_PIECE_BYTES`] takes another link, and would not arrive in its turn.
pub const APPENDS_BYTES_MAX: usize = RPC_PIECE_BYTES;

/// Longest piece of a snapshot on its way to a follower: each is acknowledged before the next.
pub const SNAPSHOT_PIECE_BYTES: usize = 256 << 10;

/// Log kept for followers that lag when a snapshot covers it, in bytes. A follower that was away
/// for a moment then gets entries, not the whole state.
pub const LOG_KEPT_BYTES: u64 = 8 << 20;

/// Most entries that a learner may be behind when it is made a voter. Few: until it has them it
/// counts as a voter that answers late.
pub const MEMBER_BEHIND_MAX: u64 = 64;

/// Requests that the slow log keeps where nothing else is set: Redis's.
pub const SLOWLOG_ENTRIES_DEFAULT: usize = 128;

/// Most requests that the slow log may be told to keep: at most some 5 KB each.
pub const SLOWLOG_ENTRIES_MAX: usize = 10_000;

/// A request is slow from here on where nothing else is set, in microseconds: Redis's.
pub const SLOWLOG_USECS_DEFAULT: i64 = 10_000;

/// Arguments of a slow request that are kept, the note of how many more there are included.
/// Redis's.
pub const SLOWLOG_ARGS_MAX: usize = 32;

/// Bytes of an argument of a slow request that are kept. Redis's.
pub const SLOWLOG_ARG_BYTES_MAX: usize = 128;

/// Samples that `LATENCY HISTORY` has of an event. Redis's.
pub const LATENCY_SAMPLES_MAX: usize = 160;

/// Most bytes of the names of the channels that one client listens to, with what the node keeps for
/// each.
pub const SUBSCRIPTION_BYTES_MAX: usize = 16 << 20;

/// Messages that wait for one client, in bytes: above, the client is dropped
/// (`client-output-buffer-limit pubsub`). Redis's.
pub const MAILBOX_BYTES_MAX: u64 = 32 << 20;

/// A client whose messages wait with more bytes than these for longer than
/// [`MAILBOX_SOFT_SECS_MAX`] is dropped. Redis's.
pub const MAILBOX_SOFT_BYTES_MAX: u64 = 8 << 20;

/// See [`MAILBOX_SOFT_BYTES_MAX`]; seconds. Redis's.
pub const MAILBOX_SOFT_SECS_MAX: u64 = 60;

/// Messages that are written to a client at once, in bytes, so that a full mailbox is not copied as
/// a whole.
pub const MAIL_BYTES_MAX: usize = 256 << 10;

/// Longest sleep that `DEBUG SLEEP` may ask for, in seconds: it holds its own connection only.
pub const DEBUG_SLEEP_SECS_MAX: f64 = 60.0;

/// Longest published message, its channel included, that is passed on to other nodes: a heartbeat
/// then never waits behind megabytes.
pub const RELAY_MESSAGE_BYTES_MAX: usize = RPC_PIECE_BYTES;

/// Published messages that wait for their way to one node; more are dropped.
pub const RELAY_BYTES_MAX: usize = 8 << 20;

/// Longest name of a user of the access control list.
pub const USER_NAME_BYTES_MAX: usize = 256;

/// Longest rules of one user, in their canonical text: some hundred key patterns.
pub const USER_RULES_BYTES_MAX: usize = 16 << 10;

/// Most bytes of all users' names and rules: they are part of the cluster's state, which every
/// change sends to every node.
pub const USERS_BYTES_MAX: usize = 1 << 20;

/// Most entries of ACL LOG (Redis: `acllog-max-len`).
pub const ACCESS_LOG_ENTRIES_MAX: usize = 128;

/// Longest object or user's name that an entry of ACL LOG keeps: they are the client's to choose.
pub const ACCESS_LOG_TEXT_BYTES_MAX: usize = 256;

/// How long a TLS handshake may take, in seconds: some round trips of a slow network.
pub const TLS_HANDSHAKE_SECS_MAX: u64 = 10;

/// Most TLS handshakes of other nodes at a time. A cluster has fewer nodes.
pub const TLS_HANDSHAKES_MAX: usize = 256;

/// Most of them from one address, so that whoever says nothing cannot keep nodes out.
pub const TLS_HANDSHAKES_OF_ONE_MAX: usize = 32;

/// Longest encoded set that is decoded to find the group of its bits, before that group decodes it
/// again: a microsecond. What is longer takes a plan, which decodes it once and divides it.
pub const ROUTED_SET_BYTES_MAX: usize = 4 << 10;

/// Offsets in one message of a gRPC listing: 10 to 50 KiB, so that a client that takes one at a
/// time is not kept waiting and one that takes all pays little a message.
pub const GRPC_PAGE_OFFSETS: u64 = 8192;

/// Keys that one message of a gRPC scan looks at where the client does not say.
pub const GRPC_SCAN_KEYS_DEFAULT: u64 = 1000;

/// Bytes in one message of a gRPC export: below what clients accept without being told (4 MiB).
pub const GRPC_CHUNK_BYTES: usize = 256 << 10;

/// Longest gRPC message that carries numbers or names and no value: a million numbers. Decoded, a
/// number takes up to eight times its bytes.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes that a gRPC message with a value of `proto-max-bulk-len` has beside it: its key and the
/// fields' tags.
pub const GRPC_ENVELOPE_BYTES_MAX: usize = 128 << 10;

/// Most calls that one gRPC connection has open at a time. Clients queue the rest.
pub const GRPC_CALLS_MAX: u32 = 1024;

/// Names that BM.PREFIXES answers where it is not told how many: a page of a tree.
pub const PREFIXES_LIMIT_DEFAULT: u64 = 1000;

/// Most names that BM.PREFIXES answers: a few MB of figures.
pub const PREFIXES_LIMIT_MAX: u64 = 10_000;

/// Entries of one group that a page of BM.PREFIXES looks at: some ten milliseconds.
pub const PREFIXES_KEYS_AT_ONCE: u64 = 1 << 18;

/// Names and spread keys on a page of BM.PREFIXES: a few MB of figures.
pub const PREFIXES_NAMES_AT_ONCE: usize = 1 << 15;

/// Bytes of the names on a page of BM.PREFIXES, and one name more.
pub const PREFIXES_NAME_BYTES_AT_ONCE: usize = 4 << 20;

/// Names that BM.PREFIXES keeps at the least, those with most bytes, while it adds up the groups'
/// pages; at the most twice as many.
pub const PREFIXES_NAMES_KEPT: usize = 1 << 16;

/// Bytes of the names that BM.PREFIXES keeps, at the least.
pub const PREFIXES_NAME_BYTES_KEPT: usize = 16 << 20;

/// Keys over several groups whose lengths BM.PREFIXES learns exactly. Of more it knows what the
/// groups hold, without the holes between.
pub const PREFIXES_SPREAD_KEYS_MAX: usize = 1 << 17;

const _: () = assert!(PREFIXES_LIMIT_MAX <= PREFIXES_NAMES_KEPT as u64);
const _: () = assert!(GRPC_PAGE_OFFSETS <= LIST_OFFSETS_MAX);
const _: () = assert!(GRPC_ENVELOPE_BYTES_MAX > KEY_BYTES_MAX);

/// Most offsets of one sample: of a dense bitmap each is looked for by itself, ten microseconds or
/// so.
pub const SAMPLE_OFFSETS_MAX: u64 = 64 << 10;
