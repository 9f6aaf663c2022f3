//! One connection, from accept to close: which protocol comes in, whether it is the listener's, and the builders
//! of hyper with every bound set.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep, timeout_at};

use super::accept::Place;
use super::bypass::Bypass;
use super::direct::{self, Handover, Taken, UntilTaken};
use super::shard::Arrival;
use super::socket::{self, Progress, Socket};
use super::stalled::Watch;
use super::tls::Tls;
use super::{Phase, Settings, Speaks, h2c};
use crate::body::{Body, Unsent};
use crate::bundle::{Bundle, Spawner};
use crate::counts::{Connection, Counts, Cut};
use crate::problem::Problem;
use crate::routes::{Routes, Standing};
use crate::wire::Carrier;

/// How long a peer may take to read the one answer of a connection too many, and to agree to the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the connections of a shard share.
pub(super) struct Home {
    pub(super) shard: usize,
    /// Where streams run that have a connection to themselves.
    pub(super) streams: Spawner,
    pub(super) settings: Arc<Settings>,
    pub(super) routes: Arc<Routes>,
    pub(super) counts: Arc<Counts>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) watch: Watch,
}

/// One connection's part of its shard.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) home: Arc<Home>,
    carrier: Carrier,
    standing: Standing,
    /// Whether a drain does not wait for it: it may want to know how we are, and is not sent away.
    late: bool,
    /// When the first request must have been read.
    deadline: Instant,
    /// Whether it has been.
    begun: Arc<AtomicBool>,
    /// Rung by the first request of a connection that may have one answer only.
    over: Option<Arc<Notify>>,
}

/// Serves a connection to its end. At most one line is logged of what goes wrong with it.
pub(super) async fn serve(home: Arc<Home>, arrival: Arrival) {
    let peer = arrival.stream.peer_addr();
    // Boxed: what a handshake needs must not stay allocated as long as the connection.
    let ended = match Box::pin(begin(home, arrival)).await {
        Ok(Some(serving)) => serving.await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    log_end(peer, ended);
}

fn log_end(peer: io::Result<SocketAddr>, ended: io::Result<()>) {
    if let Err(error) = ended {
        let peer = peer.map_or_else(|_| "a peer".to_owned(), |p| p.to_string());
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::TimedOut => {
                tracing::info!("{peer}: {error}")
            }
            // Peers come and go.
            _ => tracing::debug!("{peer}: {error}"),
        }
    }
}

/// A connection that has begun to speak its protocol.
type Serving = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Finds out what the connection speaks; `None` when it says nothing.
async fn begin(home: Arc<Home>, arrival: Arrival) -> io::Result<Option<Serving>> {
    let deadline = Instant::now() + home.settings.head_time;
    let connection = Connection::new(home.counts.clone(), home.shard, arrival.listener);
    let is_http2 = matches!(arrival.speaks, Speaks::H2c | Speaks::Http2Tls(_));
    let unsent = if is_http2 {
        home.settings.http2_unsent
    } else {
        home.settings.http1_unsent
    };
    let stream = TcpStream::from_std(arrival.stream)?;
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    socket::tune(&stream, unsent, home.settings.dead)?;
    let progress = Arc::new(Progress {
        stream,
        connection: connection.clone(),
        blocked_since: AtomicU64::new(0),
        left: AtomicU64::new(0),
        lifted: AtomicBool::new(false),
        port: local.port(),
        peer,
    });
    let socket: Arc<dyn Cut> = progress.clone();
    connection.runs_on(Arc::downgrade(&socket));
    let watched = home.watch.add(&progress);
    let mut place = arrival.place;
    let mut socket = Socket::new(progress.clone(), watched);
    let phase = home.phase.clone();
    let first = first_words(&mut socket, &mut place, phase, deadline).await?;
    let (standing, late) = (place.standing, place.is_late());
    socket.hold(place);
    let guest = Guest {
        carrier: Carrier {
            connection,
            shard: home.shard,
            // Half of the bound: the kernel and h2's own buffers have the rest.
            unsent: is_http2.then(|| Unsent::new(unsent / 2)),
            unread: is_http2.then(|| Unsent::new(unsent / 2)),
            bundle: Some(home.streams.clone()),
        },
        home,
        standing,
        late,
        deadline,
        begun: Arc::new(AtomicBool::new(false)),
        over: (standing == Standing::TooMany).then(Arc::default),
    };
    let serving: Serving = match (arrival.speaks, first) {
        (_, First::Nothing) => return Ok(None),
        (Speaks::Http1, First::Http2) => {
            return Err(wrong("the HTTP/2 preface on a port for HTTP/1.1: closed"));
        }
        (Speaks::Http1 | Speaks::H2c, First::Tls) => {
            return Err(wrong("a TLS hello on a port for cleartext: closed"));
        }
        (Speaks::Http1, First::Http1) => {
            socket.end_late();
            Box::pin(serve_http1(socket, guest, progress))
        }
        (Speaks::H2c, First::Http2) => Box::pin(serve_http2(socket, guest)),
        (Speaks::H2c, First::Http1) => {
            socket.end_late();
            Box::pin(h2c::serve(socket, guest, progress))
        }
        (Speaks::Http1Tls(tls), First::Tls) => {
            let mut stream = shake_hands(&tls, socket, deadline).await?;
            // The first request may have come with the handshake's last bytes.
            stream.get_mut().0.end_late();
            Box::pin(serve_http1(stream, guest, progress))
        }
        (Speaks::Http2Tls(tls), First::Tls) => {
            let stream = shake_hands(&tls, socket, deadline).await?;
            Box::pin(serve_http2(stream, guest))
        }
        (Speaks::Http1Tls(_) | Speaks::Http2Tls(_), _) => Box::pin(refuse_cleartext(socket)),
    };
    Ok(Some(serving))
}

/// Waits for the first bytes, and no drain waits with it: browsers open connections before they need them. Who asks
/// in time is served all the same.
async fn first_words(
    socket: &mut Socket,
    place: &mut Place,
    mut phase: watch::Receiver<Phase>,
    deadline: Instant,
) -> io::Result<First> {
    let mut first = pin!(timeout_at(deadline, first_bytes(socket)));
    loop {
        tokio::select! {
            biased;
            first = &mut first => return first.map_err(|_| silent())?,
            () = draining(&mut phase), if !place.is_late() => place.postpone(),
        }
    }
}

/// What the first bytes of a connection are.
enum First {
    Nothing,
    Tls,
    Http2,
    Http1,
}

/// Reads no more than tells the protocols apart, and puts it back.
async fn first_bytes(socket: &mut Socket) -> io::Result<First> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0";
    const TLS_HANDSHAKE: u8 = 22;
    let mut seen = [0; PREFACE.len()];
    let mut length = 0;
    let first = loop {
        let count = socket.read(&mut seen[length..]).await?;
        length += count;
        match &seen[..length] {
            [] => return Ok(First::Nothing),
            [TLS_HANDSHAKE, ..] => break First::Tls,
            start if *start == *PREFACE => break First::Http2,
            start if count == 0 || !PREFACE.starts_with(start) => break First::Http1,
            _ => {}
        }
    };
    socket.unread(Bytes::copy_from_slice(&seen[..length]));
    Ok(first)
}

async fn shake_hands(
    tls: &Tls,
    socket: Socket,
    deadline: Instant,
) -> io::Result<tokio_rustls::server::TlsStream<Socket>> {
    timeout_at(deadline, tls.accept(socket))
        .await
        .map_err(|_| silent())?
}

async fn refuse_cleartext(mut socket: Socket) -> io::Result<()> {
    let problem = Problem::bad_request(
        "cleartext",
        "this port speaks TLS: use https, or a port for cleartext",
    );
    let body = problem.json();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    Err(wrong("cleartext on a port for TLS: answered 400"))
}

/// Serves HTTP/1.1 (RFC 9112) on any stream; an event stream is carried without hyper.
async fn serve_http1<S>(stream: S, guest: Guest, progress: Arc<Progress>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handover = Handover::default();
    let (leaving, answering) = (handover.clone(), guest.clone());
    let service = service_fn(move |request| answering.answer_or_leave(request, leaving.clone()));
    let streams = guest.home.streams.clone();
    let taken = serve_http1_with(stream, guest, service, handover, progress.clone()).await?;
    if let Some((stream, taken)) = taken {
        let carrying = direct::carry(stream, taken, streams.clone())?;
        streams.spawn(carrying.map(move |ended| log_end(Ok(progress.peer), ended)));
    }
    Ok(())
}

/// Serves HTTP/1.1 with a service of the caller's, until the connection ends or a stream is handed over.
pub(super) fn serve_http1_with<S, V>(
    stream: S,
    guest: Guest,
    service: V,
    handover: Handover,
    progress: Arc<Progress>,
) -> impl Future<Output = io::Result<Option<(S, Taken)>>> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send> + Send + Unpin,
{
    let settings = &guest.home.settings;
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Also how long a connection may be idle between requests.
        .header_read_timeout(settings.head_time)
        .max_header_size(settings.head_bytes)
        // A quarter of what may be unsent: hyper stops asking the body for more above it.
        .max_buf_size((settings.http1_unsent / 4).max(8192))
        // A client that has closed its side is gone: without this only the next failed write would tell.
        .half_close(false)
        .keep_alive(guest.standing == Standing::Served)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let connection = UntilTaken::new(connection, handover, progress);
    drive(Box::pin(connection), guest, |c| c.get_mut().leave())
}

/// Serves HTTP/2 (RFC 9113) on any stream; event streams are carried past h2.
pub(super) fn serve_http2<S>(
    stream: S,
    mut guest: Guest,
) -> impl Future<Output = io::Result<()>> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let streams = Bundle::new();
    guest.carrier.bundle = Some(streams.spawner());
    let settings = &guest.home.settings;
    let unsent = settings.http2_unsent / 16;
    let bypass = Bypass::new(streams.spawner(), unsent, settings.streams);
    let stream = bypass.around(stream);
    let mut streams_only = stream.clone();
    let mut builder = http2::Builder::new(streams.spawner());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
        // What one stream may have waiting in h2; what they may have together is `Unsent`'s.
        .max_send_buf_size(16 * 1024)
        // What clients send is small: these windows bound what a connection can make us hold of it.
        .initial_stream_window_size(64 * 1024)
        // h2 ends a connection when the frames under 256 bytes that nobody has read yet miss half of this window together.
        // A full window of one WebSocket's short messages must be less, since it is read in one go.
        .initial_connection_window_size(1024 * 1024)
        // Keeps idle connections in sight of TCP's own limits; the answer may take as long as a stalled reader.
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(settings.stall)
        // Floods: RST_STREAM before and after accepting (CVE-2023-44487 and its kin).
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(1024);
    if settings.websocket_http2 {
        builder.enable_connect_protocol();
    }
    let service = guest.service(bypass);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let driving = drive(Box::pin(connection), guest, |c| c.graceful_shutdown());
    // An event that streams have written needs nothing of hyper's, which looks at all that it has when it is polled.
    streams.before(Box::pin(driving), move |cx| streams_only.is_flushed(cx))
}

impl Guest {
    fn service(
        &self,
        bypass: Bypass,
    ) -> impl HttpService<Incoming, ResBody = Body, Error = Infallible, Future = Answering> + use<>
    {
        let guest = self.clone();
        service_fn(move |request| -> Answering {
            let (bypass, answering) = (bypass.clone(), guest.answer(request));
            Box::pin(async move { Ok(bypass.take(answering.await?)) })
        })
    }

    /// Answers a request.
    pub(super) fn answer(&self, request: Request<Incoming>) -> Answering {
        self.begun.store(true, Ordering::Relaxed);
        self.over.iter().for_each(|over| over.notify_one());
        let routes = &self.home.routes;
        let answering = routes.answer(request, self.carrier.clone(), self.standing);
        Box::pin(answering.map(Ok))
    }
}

impl Guest {
    /// As [`Guest::answer`], but a stream that fits is left for the connection to carry.
    fn answer_or_leave(&self, mut request: Request<Incoming>, handover: Handover) -> Answering {
        if !Handover::fits(&request) {
            return self.answer(request);
        }
        Handover::mark(&mut request);
        let answering = self.answer(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(handover.hand_over(response).await)
        })
    }
}

/// An answer under way.
pub(super) type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// Runs a connection (boxed, since a future that moves it in would hold its size twice) to its end; asks it to leave
/// when the server drains or it is one too many; ends it when no request came in time.
async fn drive<C, T>(
    mut connection: Pin<Box<C>>,
    guest: Guest,
    leave: impl Fn(Pin<&mut C>),
) -> io::Result<T>
where
    C: Future<Output = hyper::Result<T>>,
{
    let mut phase = guest.home.phase.clone();
    let mut told = guest.late;
    let (deadline, begun) = (guest.deadline, guest.begun.clone());
    let mut over = guest.over.clone();
    drop(guest);
    let mut waiting = Some(Box::pin(tokio::time::sleep_until(deadline)));
    let mut last: Option<Pin<Box<Sleep>>> = None;
    loop {
        tokio::select! {
            biased;
            done = connection.as_mut() => return done.map_err(explain),
            () = async { waiting.as_mut().expect("checked").await }, if waiting.is_some() => {
                if !begun.load(Ordering::Relaxed) {
                    return Err(silent());
                }
                waiting = None;
            }
            () = async { over.as_ref().expect("checked").notified().await }, if over.is_some() => {
                over = None;
                leave(connection.as_mut());
                last = Some(Box::pin(tokio::time::sleep(LAST_WORDS)));
            }
            () = async { last.as_mut().expect("checked").await }, if last.is_some() => return Err(io::Error::other("one too many, and it did not leave")),
            () = draining(&mut phase), if !told => {
                told = true;
                leave(connection.as_mut());
            }
        }
    }
}

/// Ends when the server drains, or does already.
async fn draining(phase: &mut watch::Receiver<Phase>) {
    let drains = phase.wait_for(|phase| *phase == Phase::Draining);
    if drains.await.is_err() {
        // The server is gone, and so is this connection in a moment.
        std::future::pending().await
    }
}

fn explain(error: hyper::Error) -> io::Error {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        return wrong(format!("not HTTP: {error}"));
    }
    if error.is_timeout() {
        return silent();
    }
    io::Error::other(error)
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn silent() -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        "no request in time (request-head): closed",
    )
}
