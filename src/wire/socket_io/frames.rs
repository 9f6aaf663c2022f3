//! Where the frames of one direction of a WebSocket begin and end (RFC 6455, 5.2), seen in the bytes as they pass.

/// What a frame is, once its header has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: u8,
    pub(super) is_last: bool,
    /// Bytes of its payload.
    pub(super) length: u64,
    /// The first bytes of it as they were meant, once they have passed.
    pub(super) start: [u8; START],
    mask: [u8; 4],
}

/// How much of a frame's payload is looked at.
pub(super) const START: usize = 3;

impl Frame {
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const CLOSE: u8 = 8;
}

/// Something that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// A frame's header.
    Header(Frame),
    /// All of a frame.
    Whole(Frame),
}

/// A scanner of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The header as far as it has passed.
    header: [u8; HEADER],
    seen: usize,
    /// The frame that is passing, and how much of its payload has.
    frame: Option<(Frame, u64)>,
}

/// The longest header: two bytes, a length of eight, a mask of four.
const HEADER: usize = 14;

impl Frames {
    /// Whether a frame begins with the next byte.
    pub(super) fn is_between(&self) -> bool {
        self.seen == 0 && self.frame.is_none()
    }

    /// Looks at bytes as they pass, and tells what is complete with them.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Passed)) {
        while !bytes.is_empty() {
            let Some((frame, passed)) = &mut self.frame else {
                bytes = self.pass_header(bytes, &mut tell);
                continue;
            };
            let rest = usize::try_from(frame.length - *passed).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(rest.min(bytes.len()));
            let seen = usize::try_from(*passed).map_or(START, |passed| passed.min(START));
            for (place, byte) in (seen..START).zip(now) {
                frame.start[place] = byte ^ frame.mask[place];
            }
            *passed += now.len() as u64;
            if *passed == frame.length {
                tell(Passed::Whole(*frame));
                self.frame = None;
            }
            bytes = later;
        }
    }

    fn pass_header<'b>(&mut self, bytes: &'b [u8], tell: &mut impl FnMut(Passed)) -> &'b [u8] {
        let Some((first, rest)) = bytes.split_first() else {
            return bytes;
        };
        self.header[self.seen] = *first;
        self.seen += 1;
        let length = header_length(&self.header, self.seen);
        if self.seen == length {
            let frame = read(&self.header, length);
            self.seen = 0;
            tell(Passed::Header(frame));
            match frame.length {
                0 => tell(Passed::Whole(frame)),
                _ => self.frame = Some((frame, 0)),
            }
        }
        rest
    }
}

fn header_length(header: &[u8; HEADER], seen: usize) -> usize {
    if seen < 2 {
        return 2;
    }
    let length = match header[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if header[1] & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

fn read(header: &[u8; HEADER], end: usize) -> Frame {
    let big_endian = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let length = match header[1] & 0x7f {
        126 => big_endian(&header[2..4]),
        127 => big_endian(&header[2..10]),
        length => length.into(),
    };
    Frame {
        opcode: header[0] & 0x0f,
        is_last: header[0] & 0x80 != 0,
        length,
        start: [0; START],
        mask: match header[1] & 0x80 {
            0 => [0; 4],
            _ => [0, 1, 2, 3].map(|place| header[end - 4 + place]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(bytes: &[u8], piece: usize) -> Vec<Passed> {
        let mut frames = Frames::default();
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            frames.pass(piece, |one| all.push(one));
        }
        assert!(frames.is_between());
        all
    }

    #[test]
    fn frames_in_pieces_of_any_size() {
        let mut bytes = b"\x81\x0242\x88\x00\x01\x013".to_vec();
        bytes.extend_from_slice(b"\x82\x7e\x01\x00");
        bytes.extend_from_slice(&[b'x'; 256]);
        // Masked, and with a length of eight bytes.
        bytes.extend_from_slice(b"\x81\xff\0\0\0\0\0\0\0\x04mask");
        bytes.extend(b"40/a".iter().zip(b"mask").map(|(byte, mask)| byte ^ mask));
        let frame = |opcode, is_last, length, start: &[u8; 3], mask: &[u8; 4]| Frame {
            opcode,
            is_last,
            length,
            start: *start,
            mask: *mask,
        };
        let whole = [
            frame(1, true, 2, b"42\0", &[0; 4]),
            frame(8, true, 0, b"\0\0\0", &[0; 4]),
            frame(1, false, 1, b"3\0\0", &[0; 4]),
            frame(2, true, 256, b"xxx", &[0; 4]),
            frame(1, true, 4, b"40/", b"mask"),
        ];
        let expected: Vec<Passed> = whole
            .iter()
            .flat_map(|frame| {
                let header = Frame {
                    start: [0; START],
                    ..*frame
                };
                [Passed::Header(header), Passed::Whole(*frame)]
            })
            .collect();
        for piece in 1..bytes.len() {
            assert_eq!(passed(&bytes, piece), expected, "in pieces of {piece}");
        }
    }
}
