//! The numbers of ops. They never change: entries outlive builds.

macro_rules! tags {
    ($($name:ident = $number:literal,)*) => {
        $(pub(super) const $name: u8 = $number;)*
    };
}

// Writing commands.
tags! {
    SET_BIT_0 = 0x00,
    SET_BIT_1 = 0x01,
    BIT_FIELD = 0x02,
    BIT_OP = 0x03,
    SET = 0x04,
    GET_DEL = 0x05,
    GET_EX = 0x06,
    M_SET = 0x07,
    APPEND = 0x08,
    SET_RANGE = 0x09,
    INCR_BY = 0x0a,
    DELETE = 0x0b,
    EXPIRE = 0x0c,
    PERSIST = 0x0d,
    RENAME = 0x0e,
    COPY = 0x0f,
    FLUSH = 0x10,
    MERGE = 0x11,
    RESTORE = 0x12,
    TOUCH = 0x13,
    ASSIGN_IDS = 0x14,
    DROP_SPACE = 0x15,
}

// Reading commands.
tags! {
    GET_BIT = 0x40,
    BIT_COUNT = 0x41,
    BIT_POS = 0x42,
    BIT_FIELD_RO = 0x43,
    BIT_OP_CARD = 0x44,
    GET = 0x45,
    M_GET = 0x46,
    STR_LEN = 0x47,
    GET_RANGE = 0x48,
    EXISTS = 0x49,
    TYPE = 0x4a,
    TTL = 0x4b,
    SCAN = 0x4c,
    KEYS = 0x4d,
    DB_SIZE = 0x4e,
    RANDOM_KEY = 0x4f,
    FIND_IDS = 0x50,
    FIND_NAMES = 0x51,
    SPACE_INFO = 0x52,
    SPACES = 0x53,
}

// The router's reads.
tags! {
    HEADER = 0x80,
    PART = 0x81,
    COMBINE_COUNT = 0x82,
    FINGERPRINT = 0x83,
    COMBINE_VALUE = 0x84,
    EVALUATE = 0x85,
    HOLDING = 0x86,
    PREFIXES = 0x87,
    COMBINE_SHORT = 0x88,
}

// The router's writes. 0xa2 to 0xa4 and 0xa8 were used before the first release.
tags! {
    GRANTED = 0xa0,
    ENLIST = 0xa1,
    ACTIVATE = 0xa5,
    DROP = 0xa6,
    FORGET = 0xa7,
    TRANSACTION = 0xa9,
    TICK = 0xaa,
    ADOPT = 0xab,
    OPEN_SESSION = 0xac,
    NUMBERED = 0xad,
    RESERVE = 0xae,
    STAGE = 0xaf,
    PUBLISH = 0xb0,
    ABANDON = 0xb1,
    ABORT = 0xb2,
    SETTLE = 0xb3,
}

/// Whether an op with this tag is a writing command.
pub(super) const fn is_write_command(tag: u8) -> bool {
    tag < 0x40
}

/// Whether an op with this tag is a reading command.
pub(super) const fn is_read_command(tag: u8) -> bool {
    tag >= 0x40 && tag < 0x80
}

/// Whether an op with this tag is one of the router's reads.
pub(super) const fn is_router_read(tag: u8) -> bool {
    tag >= 0x80 && tag < 0xa0
}

/// Whether an op with this tag opens a session or is numbered.
pub(super) const fn is_session(tag: u8) -> bool {
    matches!(tag, OPEN_SESSION | NUMBERED)
}
