//! HTTP/2 frames (RFC 9113), the few that either side of this benchmark needs.
//!
//! No HPACK tables: the client writes literals, and of an answer only `:status 200` is looked for.

/// What a client sends first (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's type (RFC 9113, 6).
pub const DATA: u8 = 0;
/// The same.
pub const HEADERS: u8 = 1;
/// The same.
pub const RST_STREAM: u8 = 3;
/// The same.
pub const SETTINGS: u8 = 4;
/// The same.
pub const PING: u8 = 6;
/// The same.
pub const GOAWAY: u8 = 7;
/// The same.
pub const WINDOW_UPDATE: u8 = 8;

/// A flag of SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// A flag of DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// A flag of HEADERS.
pub const END_HEADERS: u8 = 0x4;
/// A flag of DATA and HEADERS.
pub const PADDED: u8 = 0x8;

/// A setting (RFC 9113, 6.5.2).
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
/// The same.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// A setting (RFC 8441, 3).
pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// The largest window.
pub const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// The window that a connection begins with.
pub const DEFAULT_WINDOW: u32 = 65_535;
/// The largest payload that a peer takes unless it says otherwise.
pub const LARGEST_PAYLOAD: usize = 16_384;
/// `:status 200` as HPACK's static table has it.
pub const STATUS_200: u8 = 0x88;

/// A frame.
pub struct Frame<'a> {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Whose it is; 0 for the connection's.
    pub stream: u32,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The first frame in `bytes` and its length, when it is complete.
pub fn parse(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let (head, rest) = bytes.split_first_chunk::<9>()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let frame = Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & LARGEST_WINDOW,
        payload: rest.get(..length)?,
    };
    Some((frame, 9 + length))
}

/// Appends a frame.
pub fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}
