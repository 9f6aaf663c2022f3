//! Brokers that are too old: a server ends at the start, with one line that says so. What is old here is played, since none is
//! at hand; each says what those of its time say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::wrong::{ends, last};

/// Plays one for whoever connects; its port.
fn played(play: fn(TcpStream) -> std::io::Result<()>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Who has heard enough leaves.
            std::thread::spawn(move || play(stream));
        }
    });
    port
}

/// Redis 4, which has no streams.
fn redis(stream: TcpStream) -> std::io::Result<()> {
    let mut words = BufReader::new(stream.try_clone()?).lines();
    let mut stream = stream;
    while let Some(count) = words.next().transpose()? {
        let count: usize = count.trim_start_matches('*').parse().unwrap_or(0);
        let said: Vec<String> = words.by_ref().take(2 * count).collect::<Result<_, _>>()?;
        let answer = match said.get(1).map(|word| word.to_uppercase()).as_deref() {
            Some("GET") => "$3\r\n1-a\r\n".to_owned(),
            Some("PING") => "+PONG\r\n".to_owned(),
            word => format!("-ERR unknown command '{}'\r\n", word.unwrap_or_default()),
        };
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// NATS 1.4, which has no JetStream.
fn nats(mut stream: TcpStream) -> std::io::Result<()> {
    let info = r#"{"server_id":"x","version":"1.4.1","proto":1,"host":"0.0.0.0","port":4222,"max_payload":1048576}"#;
    stream.write_all(format!("INFO {info} \r\n").as_bytes())?;
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.starts_with("PING") {
            stream.write_all(b"PONG\r\n")?;
        }
    }
    Ok(())
}

/// Postgres 9.6, of which an entry's statement is not understood.
fn postgres(mut stream: TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    loop {
        stream.read_exact(&mut length)?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut rest)?;
        match rest.len() {
            // Whether it encrypts.
            4 => stream.write_all(b"N")?,
            _ => break,
        }
    }
    stream.write_all(b"R\0\0\0\x08\0\0\0\0")?;
    stream.write_all(b"S\0\0\0\x1aserver_version\x009.6.24\0")?;
    stream.write_all(b"Z\0\0\0\x05I")?;
    // Whether it can be written to.
    let _ = stream.read(&mut [0; 1024])?;
    stream.write_all(b"T\0\0\0\x1a\0\x01x\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")?;
    stream.write_all(b"D\0\0\0\x0d\0\x01\0\0\0\x03offC\0\0\0\x09SHOW\0")?;
    stream.write_all(b"Z\0\0\0\x05I")?;
    let _ = stream.read(&mut [0; 1024])?;
    Ok(())
}

#[test]
fn a_broker_that_is_too_old_ends_it() {
    for (port, place, words) in [
        (played(redis), "redis://localhost:PORT", "Redis 5.0"),
        (played(nats), "nats://localhost:PORT", "it is NATS 1.4.1"),
        (
            played(postgres),
            "postgres://u:p@localhost:PORT/d",
            "it is Postgres 9.6.24",
        ),
    ] {
        if cfg!(not(feature = "nats")) && place.starts_with("nats") {
            continue;
        }
        let said = ends(&place.replace("PORT", &port.to_string()));
        let line = last(&said);
        assert!(line.contains("the server is too old"), "{said}");
        assert!(line.contains(words), "{said}");
    }
}
