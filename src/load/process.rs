//! What the kernel says of a process and its children: CPU time, resident memory; and of all sockets: their memory.

use std::fs;
use std::process;

use super::Result;
use super::clock::SECOND;

/// The kernel counts `/proc/PID/stat` in hundredths of a second, whatever its own tick is.
const TICK: u64 = SECOND / 100;
const PAGE: u64 = 4096;

/// CPU time of a process and its children so far, user and kernel, in nanoseconds.
#[derive(Clone, Copy)]
pub struct Cpu {
    /// Exact, of the threads that live.
    threads: u64,
    /// In hundredths of a second, of all threads that ever lived.
    whole: u64,
}

impl Cpu {
    /// Of this process and its children.
    ///
    /// # Errors
    /// When the process is no more.
    pub fn of(pid: u32) -> Result<Cpu> {
        let mut sum = Cpu {
            threads: 0,
            whole: 0,
        };
        for pid in family(pid)? {
            let one = Cpu::of_one(pid)?;
            sum.threads += one.threads;
            sum.whole += one.whole;
        }
        Ok(sum)
    }

    fn of_one(pid: u32) -> Result<Cpu> {
        let mut threads = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may leave while the list is read; `whole` has it.
            let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            threads += number(schedstat.split(' ').next());
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let times = after_name.split(' ').skip(11).take(2);
        let whole = times.map(|ticks| number(Some(ticks)) * TICK).sum();
        Ok(Cpu { threads, whole })
    }

    /// Without the children, which are what is measured.
    ///
    /// # Errors
    /// When there is no /proc.
    pub fn of_this_process() -> Result<Cpu> {
        Cpu::of_one(process::id())
    }

    /// The time since `before`. Exact, unless threads have left: then user and kernel time, each cut to a tick.
    pub fn since(self, before: Cpu) -> u64 {
        let threads = self.threads.saturating_sub(before.threads);
        let whole = self.whole.saturating_sub(before.whole);
        threads.max(whole.saturating_sub(2 * TICK))
    }
}

/// Resident bytes, counted page by page: `VmRSS` may be off by hundreds of kilobytes.
///
/// # Errors
/// When the process is no more.
pub fn resident(pid: u32) -> Result<u64> {
    let family = family(pid)?;
    // What a family shares is counted once: a page of its shared memory by the half in each of two.
    let field = if family.len() > 1 { "Pss:" } else { "Rss:" };
    let mut sum = 0;
    for pid in family {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix(field));
        sum += number(line.and_then(|line| line.split_whitespace().next())) * 1024;
    }
    Ok(sum)
}

/// A process, its children and theirs.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(&pid) = family.get(at) {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    Ok(family)
}

/// Time that all CPUs were busy so far, or taken away by the host, in nanoseconds.
///
/// # Errors
/// When there is no /proc.
pub fn all_busy() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; the time of guests is in user already.
    let times: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|ticks| number(Some(ticks)) * TICK)
        .collect();
    Ok(times.iter().sum::<u64>() - times.iter().skip(3).take(2).sum::<u64>())
}

/// Bytes that the kernel holds for TCP sockets, this machine's all together.
///
/// # Errors
/// When there is no /proc.
pub fn socket_memory() -> Result<u64> {
    let sockstat = fs::read_to_string("/proc/net/sockstat")?;
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"));
    Ok(number(line.and_then(|line| line.rsplit(' ').next())) * PAGE)
}

/// Bytes that the kernel holds for its own objects, sockets among them, and in TCP's buffers; of the whole machine.
///
/// # Errors
/// When there is no /proc.
pub fn socket_slab() -> Result<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"));
    let slab = number(line.and_then(|line| line.split_whitespace().next()));
    Ok(slab * 1024 + socket_memory()?)
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
