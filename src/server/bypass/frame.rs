//! As much of HTTP/2's framing (RFC 9113, 4.1 and 6) as it takes to find the frames in a stream of bytes.

use bytes::{BufMut, BytesMut};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;
/// The largest payload that every peer takes (RFC 9113, 4.2).
pub(super) const PAYLOAD: usize = 16_384;
/// The largest window, and the largest step of one (RFC 9113, 6.9.1).
pub(super) const WINDOW: u32 = (1 << 31) - 1;
/// What a window is before anybody has said anything (RFC 9113, 6.9.2).
pub(super) const FIRST_WINDOW: u32 = 65_535;

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// A DATA frame that does not end its stream.
    pub(super) fn data(stream: u32, length: usize) -> Head {
        Head {
            length,
            kind: DATA,
            flags: 0,
            stream,
        }
    }

    pub(super) fn read(bytes: &[u8; HEAD]) -> Head {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        Head {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & WINDOW,
        }
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        out.put_uint(self.length as u64, 3);
        out.put_u8(self.kind);
        out.put_u8(self.flags);
        out.put_u32(self.stream);
    }

    /// HEADERS that are a whole header block (RFC 9113, 4.3).
    pub(super) fn is_block(&self) -> bool {
        self.kind == HEADERS && self.flags & END_HEADERS != 0 && self.length <= PAYLOAD
    }

    /// A part of the payload of a DATA frame, in a frame of its own; the last part ends what the frame ends.
    pub(super) fn part(self, length: usize, is_last: bool) -> Head {
        let flags = if is_last {
            self.flags
        } else {
            self.flags & !END_STREAM
        };
        Head {
            length,
            flags,
            ..self
        }
    }

    pub(super) fn ends_stream(&self) -> bool {
        self.kind == RST_STREAM
            || matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether nothing but a CONTINUATION of the same stream may follow (RFC 9113, 6.10), given that this was so
    /// before.
    pub(super) fn leaves_block_open(&self, open: bool) -> bool {
        match self.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => self.flags & END_HEADERS == 0,
            _ => open,
        }
    }

    pub(super) fn is_window_update(&self) -> bool {
        self.kind == WINDOW_UPDATE && self.length == 4
    }

    /// Settings of the peer's that can be read: what is wrong with others is for h2 to say.
    pub(super) fn is_settings(&self) -> bool {
        self.kind == SETTINGS
            && self.flags & ACK == 0
            && self.length.is_multiple_of(6)
            && self.length <= PAYLOAD
    }
}

/// A WINDOW_UPDATE frame (RFC 9113, 6.9).
pub(super) fn window_update(out: &mut BytesMut, stream: u32, step: u32) {
    let head = Head {
        length: 4,
        kind: WINDOW_UPDATE,
        flags: 0,
        stream,
    };
    head.write(out);
    out.put_u32(step);
}

/// The last SETTINGS_INITIAL_WINDOW_SIZE in the payload of SETTINGS (RFC 9113, 6.5.2), if it is one.
pub(super) fn initial_window(payload: &[u8]) -> Option<u32> {
    const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
    let (entries, _) = payload.as_chunks::<6>();
    let sizes = entries
        .iter()
        .filter(|entry| entry.starts_with(&INITIAL_WINDOW_SIZE));
    sizes
        .map(|[_, _, size @ ..]| u32::from_be_bytes(*size))
        .rfind(|size| *size <= WINDOW)
}
