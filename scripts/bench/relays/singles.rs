//! Single events, each a POST of its own: as many as one server takes from so many connections, each with one under way.
//!
//! The other side is bytes on a socket, since a client that is a whole one would take more of the processor than the server.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use triwire::load::Result;
use triwire::load::clock;
use triwire::load::histogram::Histogram;

use super::alone::Server;
use super::{Options, cpu, shown};

/// Connections, which are as many events under way.
const CONNECTIONS: [usize; 3] = [16, 64, 256];

pub async fn run(options: &Options, broker: &str) -> Result<()> {
    let time = Duration::from_secs_f64(if options.quick { 0.5 } else { 5.0 });
    println!("\n## Single events\n");
    println!(
        "Each a POST of 60 bytes on one of the connections, which are kept; the next one when it was answered. The answer comes \
         when the event has come back from the broker. CPU is that of the server's main thread and of all its threads.\n"
    );
    println!(
        "| server | connections | events/s | answer p50 | p99 | greatest | main thread's CPU an event | all threads' |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let relay = format!("--relay={broker}?stream=singles");
    for _ in 0..2 {
        for (name, flags) in [("without a relay", &[][..]), ("with it", &[&*relay])] {
            let server = Server::start(&options.triwire, flags)?;
            for connections in CONNECTIONS {
                case(name, &server, connections, time).await?;
            }
            server.stop()?;
        }
    }
    Ok(())
}

async fn case(name: &str, server: &Server, connections: usize, time: Duration) -> Result<()> {
    let authority = server.place("sse-http1")?.authority().to_owned();
    let mut writers = Vec::new();
    for _ in 0..connections {
        writers.push(Writer::connect(&authority).await?);
    }
    let (main, all) = cpu(server.pid())?;
    let from = Instant::now();
    let each = writers.iter_mut().map(|writer| writer.write(from + time));
    let took = try_join_all(each).await?;
    let seconds = from.elapsed().as_secs_f64();
    let (main_after, all_after) = cpu(server.pid())?;
    let mut answers = Histogram::default();
    took.iter().flatten().for_each(|took| answers.record(*took));
    let events: usize = took.iter().map(Vec::len).sum();
    println!(
        "| {name} | {connections} | {:.0} | {} | {} | {} | {:.1} µs | {:.1} µs |",
        events as f64 / seconds,
        shown(answers.quantile(0.5)),
        shown(answers.quantile(0.99)),
        shown(answers.quantile(1.0)),
        (main_after - main) * 1e6 / events as f64,
        (all_after - all) * 1e6 / events as f64,
    );
    Ok(())
}

struct Writer {
    stream: TcpStream,
    request: String,
    answer: Vec<u8>,
}

impl Writer {
    async fn connect(authority: &str) -> Result<Writer> {
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let body = r#"{"n":1234567,"text":"as long as many events are, or so.."}"#;
        Ok(Writer {
            stream,
            request: format!(
                "POST /publish/singles HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
            answer: vec![0; 4096],
        })
    }

    /// How long each answer took, until then.
    async fn write(&mut self, until: Instant) -> Result<Vec<u64>> {
        let mut took = Vec::new();
        while Instant::now() < until {
            let from = clock::now();
            self.stream.write_all(self.request.as_bytes()).await?;
            self.answered().await?;
            took.push(clock::now() - from);
        }
        Ok(took)
    }

    async fn answered(&mut self) -> Result<()> {
        let mut count = 0;
        loop {
            let more = self.stream.read(&mut self.answer[count..]).await?;
            count += more;
            let answer = &self.answer[..count];
            let text = std::str::from_utf8(answer)?;
            if more == 0 || count > 12 && !text.starts_with("HTTP/1.1 201") {
                return Err(format!("it is answered: {text}").into());
            }
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length: usize = length.ok_or("an answer without its length")?.1.parse()?;
            if body.len() >= length {
                return Ok(());
            }
        }
    }
}
