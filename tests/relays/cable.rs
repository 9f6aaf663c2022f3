//! A cable between a replica and its broker, which can be cut, or carry nothing while it looks whole.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Takes all, and carries nothing.
    Clogged,
    Cut,
}

pub struct Cable {
    at: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Cable {
    /// To an address; connections from now on go through it.
    pub async fn to(address: &str) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let cable = Cable {
            at: listener.local_addr().expect("it is bound"),
            state: Arc::new(watch::Sender::new(State::Whole)),
        };
        let (state, address) = (cable.state.clone(), address.to_owned());
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.expect("it is there");
                let (state, address) = (state.clone(), address.clone());
                tokio::spawn(async move { carry(near, &address, &state).await });
            }
        });
        cable
    }

    /// Where its near end is, by the name that certificates have.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.at.port())
    }

    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub fn clog(&self) {
        self.state.send_replace(State::Clogged);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn carry(near: TcpStream, address: &str, state: &watch::Sender<State>) {
    let mut cut = state.subscribe();
    if *cut.borrow() == State::Cut {
        return;
    }
    let Ok(far) = TcpStream::connect(address).await else {
        return;
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = copy(near_in, far_out, state.subscribe()) => {}
        () = copy(far_in, near_out, state.subscribe()) => {}
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let _ = state.wait_for(|state| *state == State::Whole).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
