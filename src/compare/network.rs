//! A bad network between a client and a server on one machine: each in a network namespace of its own, with a link
//! between them that delays packets and loses some. That takes root.
//!
//! The namespaces have no names: they are there while a process or a descriptor of ours is in them, so that nothing
//! of them can be left behind, even by a process that is killed.
//!
//! The kernel has a queueing discipline for this, netem, but many kernels come without it, those of small virtual
//! machines above all. Here a link of kind VXLAN makes datagrams of packets, and [`Lane`] passes them on: as late as
//! is asked, and with gaps that come from a seed, so that every wire can be given the same. There is no limit to what is
//! under way, and nothing changes places.

use std::fs::{self, File, read_link};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What a link does to packets, in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// How late each arrives; a round trip takes twice that and a little more.
    pub delay: Duration,
    /// The share of them that never arrives, 0 to 1.
    pub loss: f64,
    /// Which of them: the same ones for the same number, as far as the same are sent.
    pub seed: u64,
}

/// What the client finds in its network.
#[derive(Clone, Debug)]
pub struct Network {
    /// The server by a link that does no harm, for publishing.
    pub clean: IpAddr,
    /// The server by the bad link.
    pub bad: IpAddr,
    /// What the bad link carried to the server.
    pub up: Arc<Packets>,
    /// And from it.
    pub down: Arc<Packets>,
}

/// The packets of one direction.
#[derive(Debug, Default)]
pub struct Packets {
    /// Those that were passed on, or will be.
    pub passed: AtomicU64,
    /// Those that were not.
    pub lost: AtomicU64,
    /// The longest, in bytes from its Ethernet header on.
    pub longest: AtomicU64,
}

/// An end of both links.
struct End {
    clean: Ipv4Addr,
    bad: Ipv4Addr,
    hardware: &'static str,
    /// Where its VXLAN device takes datagrams; what it sends goes to the same port at the other end.
    port: u16,
}

// The addresses are those that RFC 2544 keeps for measuring.
const SERVER: End = End {
    clean: Ipv4Addr::new(198, 18, 0, 1),
    bad: Ipv4Addr::new(198, 18, 1, 1),
    hardware: "02:00:00:00:00:01",
    port: 4789,
};
const CLIENT: End = End {
    clean: Ipv4Addr::new(198, 18, 0, 2),
    bad: Ipv4Addr::new(198, 18, 1, 2),
    hardware: "02:00:00:00:00:02",
    port: 4790,
};

/// What VXLAN puts before a packet.
const HEADER: usize = 8;

/// A burst may wait here until its thread has a processor; what does not fit would be lost without being counted.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);

/// Says in a line what is missing, and what to do about it.
///
/// # Errors
/// If there can be no such network here.
pub fn possible() -> Result<(), String> {
    let (server, client) = (Namespace::new()?, Namespace::new()?);
    Links::new(&server, &client).map(drop)
}

/// How a program is started in a network of its own, with nothing in it yet: give it its arguments, and a server
/// binds 0.0.0.0. It is the program's process that comes of it, not a parent's.
pub fn apart(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--", program]);
    command
}

/// Does something in a thread in a network that is joined to the server's. What it opens, and the threads and
/// processes that it starts, are in that network too; when it returns or panics, the links are taken away.
///
/// The server was started by [`apart`] and has bound its listeners.
///
/// # Errors
/// If the server is in our own network, or if the networks cannot be made or joined.
pub fn with_network<T: Send>(
    server: u32,
    link: Link,
    what: impl FnOnce(Network) -> T + Send,
) -> Result<T, String> {
    let (server, client) = (Namespace::of(server)?, Namespace::new()?);
    let _links = Links::new(&server, &client)?;
    let (up, down) = (
        Lane::new(&CLIENT, &SERVER, &server)?,
        Lane::new(&SERVER, &CLIENT, &client)?,
    );
    let network = Network {
        clean: SERVER.clean.into(),
        bad: SERVER.bad.into(),
        up: up.packets.clone(),
        down: down.packets.clone(),
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for lane in [&up, &down] {
            scope.spawn(|| lane.carry(link, &over));
        }
        let _over = AtEnd(&over);
        Ok(client.run(|| what(network)))
    })
}

/// Says that it is over, also when it ends by a panic.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A network namespace, which is there at least as long as this.
struct Namespace(File);

impl Namespace {
    /// A new one. Only a program can make one for us: the call itself is one that safe code cannot make.
    fn new() -> Result<Namespace, String> {
        let mut holder = apart("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| missing("unshare", "util-linux", &error))?;
        // What cat says back says that it is there.
        let (mut input, mut output) = (holder.stdin.take(), holder.stdout.take());
        let said = input.as_mut().map(|input| input.write_all(b"\n"));
        let heard = output.as_mut().map(|output| output.read_exact(&mut [0]));
        let ready = matches!((said, heard), (Some(Ok(())), Some(Ok(()))));
        let network = Namespace::of(holder.id());
        drop(input);
        let ended = holder.wait_with_output();
        if ready {
            return network;
        }
        let said = ended.map_or_else(|error| error.to_string(), |ended| first_line(&ended.stderr));
        Err(format!(
            "no network of its own can be made ({said}): run it as root"
        ))
    }

    /// A process's, which must not be our own.
    fn of(process: u32) -> Result<Namespace, String> {
        let path = format!("/proc/{process}/ns/net");
        let look = |path: &str| read_link(path).map_err(|error| format!("{path}: {error}"));
        if look(&path)? == look("/proc/thread-self/ns/net")? {
            return Err(format!("process {process} has no network of its own"));
        }
        let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
        Ok(Namespace(file))
    }

    /// Does something in a thread that is in it.
    fn run<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("who may make a namespace may enter it");
            what()
        };
        let done = thread::scope(|scope| scope.spawn(inside).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Gives `ip` these lines there.
    fn ip(&self, lines: &str) -> Result<(), String> {
        self.run(|| {
            // Debian's users do not have these directories in their path, and there it is.
            let path = std::env::var("PATH").unwrap_or_default();
            let mut ip = Command::new("ip")
                .args(["-batch", "-"])
                .env("PATH", format!("{path}:/usr/sbin:/sbin"))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| missing("ip", "iproute2", &error))?;
            let input = ip.stdin.take();
            // Who ends before it has read all says why on stderr.
            let _ = input.map(|mut input| input.write_all(lines.as_bytes()));
            match ip.wait_with_output() {
                Ok(done) if done.status.success() => Ok(()),
                Ok(done) => Err(format!("ip: {}", first_line(&done.stderr))),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

fn missing(program: &str, package: &str, error: &io::Error) -> String {
    format!("{program} cannot be run ({error}): install {package}")
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().next().unwrap_or("it did not say why").into()
}

/// Both links between two networks, taken away at the end: the server's network may be joined again, and what the
/// kernel takes away by itself it takes away later.
struct Links<'a> {
    server: &'a Namespace,
    client: &'a Namespace,
}

impl<'a> Links<'a> {
    fn new(server: &'a Namespace, client: &'a Namespace) -> Result<Links<'a>, String> {
        let there = format!("/proc/{}/fd/{}", std::process::id(), server.0.as_raw_fd());
        // The clean link carries the bad one's packets whole, and what is put before them.
        client.ip(&format!(
            "link add clean mtu 1600 type veth peer name clean mtu 1600 netns {there}"
        ))?;
        let links = Links { server, client };
        for (network, own, other) in [(server, &SERVER, &CLIENT), (client, &CLIENT, &SERVER)] {
            network.ip(&own.lines(other)).map_err(|said| {
                format!("no VXLAN link can be made ({said}): it needs a kernel with CONFIG_VXLAN")
            })?;
            // A connection must not know what one before it went through: each wire would hand on its luck.
            let path = "/proc/sys/net/ipv4/tcp_no_metrics_save";
            let written = network.run(|| fs::write(path, "1"));
            written.map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(links)
    }
}

impl Drop for Links<'_> {
    fn drop(&mut self) {
        // What was not made cannot be taken away, and what ends a network takes away the rest.
        let _ = self.client.ip("link delete clean");
        let _ = self.server.ip("link delete bad");
    }
}

impl End {
    /// What makes its links, for `ip`.
    ///
    /// `gso_max_segs 1`: a lost packet shall be a packet, not a bundle of 40 of them. `remcsumtx`: else the checksum
    /// of a packet would be left to a network card, and it meets none. The neighbour is known, since the question for
    /// it would be lost too, and asked again after a second.
    fn lines(&self, other: &End) -> String {
        let End {
            clean,
            bad,
            hardware,
            port,
        } = self;
        format!(
            "link set lo up
             address add {clean}/30 dev clean
             link set clean up
             link add bad mtu 1500 address {hardware} gso_max_segs 1 type vxlan id 1 local {clean} remote {} \
                 dstport {port} nolearning remcsumtx remcsumrx
             address add {bad}/30 dev bad
             neighbour replace {} lladdr {} dev bad nud permanent
             link set bad up
            ",
            other.clean, other.bad, other.hardware
        )
    }
}

/// One direction of the bad link: takes the datagrams of the sending end's device and passes them on to that of the
/// other end.
struct Lane {
    socket: UdpSocket,
    to: SocketAddr,
    packets: Arc<Packets>,
}

impl Lane {
    fn new(from: &End, to: &End, network: &Namespace) -> Result<Lane, String> {
        let open = || {
            let socket = UdpSocket::bind((to.clean, from.port))?;
            socket.set_read_timeout(Some(LOOK))?;
            set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
            Ok(Lane {
                socket,
                to: (to.clean, to.port).into(),
                packets: Arc::default(),
            })
        };
        let opened: io::Result<Lane> = network.run(open);
        opened.map_err(|error| format!("UDP port {} of the bad link: {error}", from.port))
    }

    /// Carries until it is over; what is under way then is lost.
    fn carry(&self, link: Link, over: &AtomicBool) {
        let (send, due) = channel();
        thread::scope(|scope| {
            scope.spawn(|| self.pass_on(due, over));
            let mut chance = Rng::with_seed(link.seed ^ u64::from(self.to.port()) << 32);
            let mut datagram = vec![0; 1 << 16];
            while !over.load(Ordering::Relaxed) {
                // No datagram may have come yet; whatever else it was, the next try will show.
                let Ok(length) = self.socket.recv(&mut datagram) else {
                    continue;
                };
                let arrived = Instant::now();
                let packet = length.saturating_sub(HEADER) as u64;
                self.packets.longest.fetch_max(packet, Ordering::Relaxed);
                if chance.f64() < link.loss {
                    self.packets.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                self.packets.passed.fetch_add(1, Ordering::Relaxed);
                let _ = send.send((arrived + link.delay, datagram[..length].to_vec()));
            }
            drop(send);
        });
    }

    /// Since all are equally late, they are due in the order in which they came.
    fn pass_on(&self, due: Receiver<(Instant, Vec<u8>)>, over: &AtomicBool) {
        for (when, datagram) in due {
            thread::sleep(when.saturating_duration_since(Instant::now()));
            if over.load(Ordering::Relaxed) {
                return;
            }
            // A device that takes it no more is that of a server that has ended.
            let _ = self.socket.send_to(&datagram, self.to);
        }
    }
}
