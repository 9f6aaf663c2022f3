//! The most memory that a process, and the kernel for its sockets, held over a while: looked up ten times a second.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::process;

const PERIOD: Duration = Duration::from_millis(100);

/// The most that was seen.
#[derive(Default)]
pub struct Peak {
    /// Resident bytes.
    pub resident: u64,
    /// Bytes that the kernel held for all TCP sockets.
    pub kernel: u64,
}

/// A watch that goes on.
pub struct Peaks {
    end: Sender<()>,
    thread: JoinHandle<Result<Peak, String>>,
}

impl Peaks {
    /// Begins to look.
    pub fn watch(pid: u32) -> Peaks {
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut peak = Peak::default();
            while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                look(pid, &mut peak).map_err(|error| error.to_string())?;
            }
            look(pid, &mut peak).map_err(|error| error.to_string())?;
            Ok(peak)
        });
        Peaks { end, thread }
    }

    /// Looks once more, and says what was seen.
    ///
    /// # Errors
    /// When the process is no more.
    pub fn end(self) -> super::Result<Peak> {
        drop(self.end);
        Ok(self.thread.join().expect("the watch does not panic")?)
    }
}

fn look(pid: u32, peak: &mut Peak) -> super::Result<()> {
    peak.resident = peak.resident.max(process::resident(pid)?);
    peak.kernel = peak.kernel.max(process::socket_memory()?);
    Ok(())
}
