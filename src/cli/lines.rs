//! Lines on stdout, written by a thread of their own: a pipe may stand still for ever.

use std::io::{self, Write};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot};

/// Whether somebody still writes them.
pub(super) async fn send(lines: &mpsc::Sender<Vec<u8>>, chunk: Vec<u8>) -> bool {
    chunk.is_empty() || lines.send(chunk).await.is_ok()
}

/// Writes to stdout on a thread of its own, since a pipe may stand still for ever. What became of it is told at the
/// end; that nobody reads it is no failure.
pub(super) fn write_lines() -> (mpsc::Sender<Vec<u8>>, oneshot::Receiver<io::Result<()>>) {
    let (lines, mut chunks) = mpsc::channel::<Vec<u8>>(1);
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdout = io::stdout().lock();
        let mut result = Ok(());
        while let (Ok(()), Some(chunk)) = (&result, chunks.blocking_recv()) {
            result = stdout.write_all(&chunk).and_then(|()| stdout.flush());
        }
        drop(chunks);
        let _ = tell.send(match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        });
    });
    (lines, told)
}

/// Ends when the other end of stdout is closed: without it, a pipe's end would be noticed with the next event only.
pub(super) async fn nobody_reads() {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let stdout = io::stdout();
        let mut all = [PollFd::new(&stdout, PollFlags::empty())];
        // A regular file or a terminal that hangs up is told by the write.
        while poll(&mut all, None).is_err() {}
        let _ = tell.send(());
    });
    let _ = told.await;
}
