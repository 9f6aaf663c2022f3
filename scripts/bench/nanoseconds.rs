//! Nanoseconds for people. The benchmarks of collections and of relays have this.

pub fn shown(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{} µs", nanoseconds / 1_000),
        _ => format!("{:.1} ms", nanoseconds as f64 / 1e6),
    }
}
