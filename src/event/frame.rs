//! How an event is written: SSE blocks and JSON objects. Pure functions from an event to bytes.

use std::io::Write;

use bytes::Bytes;

use super::{Event, EventType, Payload};

/// An SSE block: `id`, `event` unless it is `message`, and the payload's lines as `data`.
pub fn sse(event: &Event) -> Vec<u8> {
    let payload = event.draft.payload.bytes();
    let mut out = sse_head(event, payload.len());
    data_lines(&mut out, payload);
    out.push(b'\n');
    out
}

/// An SSE block whose data says which replica delivers it and on which topic.
pub fn sse_envelope(event: &Event, server_json: &str) -> Vec<u8> {
    let server = format!(r#""server":{server_json},"#);
    sse_object(event, &server)
}

/// An SSE block whose data says on which topic it is.
pub fn sse_stream(event: &Event) -> Vec<u8> {
    sse_object(event, "")
}

fn sse_object(event: &Event, first: &str) -> Vec<u8> {
    let mut object = Vec::with_capacity(event.draft.payload.bytes().len() + 128);
    let _ = write!(object, r#"{{{first}"topic":"{}""#, event.draft.topic);
    json_tail(&mut object, &event.draft.event_type, &event.draft.payload);
    let mut out = sse_head(event, object.len());
    data_lines(&mut out, &object);
    out.push(b'\n');
    out
}

/// `{"id","topic","type","data"}`; `type` is left out when it is `message`, and the id of what is in no log.
pub fn json(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(event.draft.payload.bytes().len() + 128);
    out.push(b'{');
    // Ids and topics have no character that JSON would escape.
    if event.is_logged() {
        let _ = write!(out, r#""id":"{}","#, event.id);
    }
    let _ = write!(out, r#""topic":"{}""#, event.draft.topic);
    json_tail(&mut out, &event.draft.event_type, &event.draft.payload);
    out
}

/// One `data:` line for each line of `text`; CR, LF and CRLF all end a line, as the parser at the other end has it.
pub fn data_lines(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = rest.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
            out.extend_from_slice(rest);
            out.push(b'\n');
            return;
        };
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let skip = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + skip..];
    }
}

/// A chunk of HTTP/1.1 (RFC 9112, 7.1) with these bytes.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 12);
    let _ = write!(out, "{:X}\r\n", bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    out
}

/// The bytes of a chunk that [`chunk`] has made, shared with it.
pub fn unchunked(chunk: &Bytes) -> Bytes {
    chunk.slice(around(chunk) - 2..chunk.len() - 2)
}

/// A text frame with this payload, as a WebSocket server sends it (RFC 6455, 5.2): whole, and not masked.
pub fn message(payload: &[u8]) -> Vec<u8> {
    const LAST_TEXT: u8 = 0x81;
    let mut out = Vec::with_capacity(payload.len() + 10);
    out.push(LAST_TEXT);
    match payload.len() {
        length @ 0..126 => out.push(length as u8),
        length @ 126..65_536 => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// The payload of a frame that [`message`] has made, shared with it.
pub fn unframed(message: &Bytes) -> Bytes {
    let head = match message.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    message.slice(head..)
}

/// How many bytes of a chunk are not the bytes in it.
pub fn around(chunk: &[u8]) -> usize {
    chunk
        .iter()
        .position(|b| *b == b'\n')
        .map_or(2, |end| end + 3)
}

fn sse_head(event: &Event, data: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data + 96);
    if event.is_logged() {
        let _ = writeln!(out, "id: {}", event.id);
    }
    if let Some(name) = event.draft.event_type.name() {
        let _ = writeln!(out, "event: {name}");
    }
    out
}

fn json_tail(out: &mut Vec<u8>, event_type: &EventType, payload: &Payload) {
    if let Some(name) = event_type.name() {
        let _ = write!(out, r#","type":"{name}""#);
    }
    out.extend_from_slice(br#","data":"#);
    if payload.is_json() {
        out.extend_from_slice(payload.bytes());
    } else {
        let text = String::from_utf8_lossy(payload.bytes());
        let _ = serde_json::to_writer(&mut *out, &text);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Draft, EventId, Framing, Origin, Topic};

    fn event(name: &str, payload: Payload) -> Event {
        let draft = Draft {
            topic: Topic::new("a/b").expect("a good topic"),
            event_type: EventType::new(name).expect("a good type"),
            payload,
        };
        let origin = Origin {
            server_json: "\"s\"".into(),
            framed: 0.into(),
        };
        Event::new(EventId { ms: 7, n: 1 }, 1, draft, Arc::new(origin))
    }

    fn text(s: &str) -> Payload {
        Payload::text(s.to_owned().into()).expect("UTF-8")
    }

    fn json_payload(s: &str) -> Payload {
        Payload::json(s.to_owned().into()).expect("JSON")
    }

    #[test]
    fn sse_blocks() {
        let table = [
            ("message", text("x"), "id: 7-1\ndata: x\n\n"),
            ("message", text(""), "id: 7-1\ndata: \n\n"),
            (
                "t",
                text("a\nb\r\nc\rd"),
                "id: 7-1\nevent: t\ndata: a\ndata: b\ndata: c\ndata: d\n\n",
            ),
            (
                "message",
                text("a\n\n"),
                "id: 7-1\ndata: a\ndata: \ndata: \n\n",
            ),
            (
                "message",
                json_payload("{\n}"),
                "id: 7-1\ndata: {\ndata: }\n\n",
            ),
        ];
        for (name, payload, want) in table {
            assert_eq!(event(name, payload).framed(Framing::Sse), want);
        }
    }

    #[test]
    fn chunks_and_what_is_in_them() {
        let event = event("message", text("abc"));
        assert_eq!(
            event.framed(Framing::SseChunk),
            "13\r\nid: 7-1\ndata: abc\n\n\r\n"
        );
        assert_eq!(event.framed(Framing::Sse), "id: 7-1\ndata: abc\n\n");
    }

    #[test]
    fn json_objects() {
        let table = [
            (
                "message",
                text("q\"\n"),
                r#"{"id":"7-1","topic":"a/b","data":"q\"\n"}"#,
            ),
            (
                "t",
                json_payload("[1, 2]"),
                r#"{"id":"7-1","topic":"a/b","type":"t","data":[1, 2]}"#,
            ),
        ];
        for (name, payload, want) in table {
            assert_eq!(event(name, payload).framed(Framing::Json), want);
        }
        let envelope = event("t", text("x"));
        let want = "id: 7-1\nevent: t\ndata: {\"server\":\"s\",\"topic\":\"a/b\",\"type\":\"t\",\"data\":\"x\"}\n\n";
        assert_eq!(envelope.framed(Framing::Envelope), want);
    }

    #[test]
    fn what_is_in_no_log_has_no_id() {
        let mut told = event("message", text("x"));
        told.id = EventId::ZERO;
        assert_eq!(told.framed(Framing::Sse), "data: x\n\n");
        assert_eq!(told.framed(Framing::Json), r#"{"topic":"a/b","data":"x"}"#);
    }

    #[test]
    fn a_stream_of_many_things_says_what_each_is() {
        let plain = event("t", text("x"));
        let want = "id: 7-1\nevent: t\ndata: {\"topic\":\"a/b\",\"type\":\"t\",\"data\":\"x\"}\n\n";
        assert_eq!(plain.framed(Framing::Stream), want);
        let mut of_query = event("message", json_payload(r#"{"query":"q","result":1}"#));
        of_query.draft.topic = Topic::of_query("q").expect("a good name");
        let want = "id: 7-1\ndata: {\"query\":\"q\",\"result\":1}\n\n";
        assert_eq!(of_query.framed(Framing::Stream), want);
    }

    #[test]
    fn messages_have_the_shortest_length_that_does() {
        let table: [(usize, &[u8]); 5] = [
            (0, &[0x81, 0]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (length, head) in table {
            let payload = vec![b'x'; length];
            let message = Bytes::from(message(&payload));
            assert_eq!(message[..head.len()], *head, "{length}");
            assert_eq!(unframed(&message), payload, "{length}");
        }
    }

    #[test]
    fn framings_are_counted_while_they_live() {
        let event = event("t", text("x"));
        let origin = event.origin.clone();
        let bytes = event.framed(Framing::SseChunk).len() + event.framed(Framing::Message).len();
        assert_eq!(
            origin.framed.load(std::sync::atomic::Ordering::Relaxed),
            bytes as u64
        );
        drop(event);
        assert_eq!(origin.framed.load(std::sync::atomic::Ordering::Relaxed), 0);
    }
}
