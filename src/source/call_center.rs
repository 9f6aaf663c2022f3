//! A call centre that never was: calls at random, the same ones for the same seed.

use std::collections::{BTreeSet, VecDeque};

use fastrand::Rng;
use serde::Serialize;

const QUEUES: [&str; 4] = ["sales", "billing", "support", "returns"];

/// Calls of the last minute count for the averages.
const WINDOW_MS: f64 = 60_000.0;

/// A call's mean time in the menu and with the agent, in seconds.
const IVR_S: f64 = 25.0;
const TALK_S: f64 = 180.0;

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// When it ended, in milliseconds.
    pub ts: u64,
    /// Who took it.
    pub agent: String,
    /// What it was about.
    pub queue: &'static str,
    /// Seconds with the agent.
    pub duration_s: f64,
    /// Seconds in the menu before (interactive voice response).
    pub ivr_s: f64,
}

/// What is known of the last minute's calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averages {
    /// Seconds with the agent; `None` without a call.
    pub call_duration: Option<f64>,
    /// Agents who took one.
    pub active_agents: usize,
    /// Seconds in the menu; `None` without a call.
    pub time_ivr: Option<f64>,
}

/// Calls in the order in which they end.
pub struct CallCenter {
    rng: Rng,
    /// Calls a millisecond.
    rate: f64,
    agents: usize,
    /// When the next call ends, in milliseconds from the start.
    next: f64,
    recent: VecDeque<(f64, usize, f64, f64)>,
}

impl CallCenter {
    /// So many calls a second on average.
    pub fn new(rate: f64, seed: u64) -> CallCenter {
        let mut center = CallCenter {
            rng: Rng::with_seed(seed),
            rate: rate / 1000.0,
            // Not all of them have a call in each minute.
            agents: (rate * 40.0).clamp(8.0, 2_000.0) as usize,
            next: 0.0,
            recent: VecDeque::new(),
        };
        center.advance();
        center
    }

    /// Milliseconds from the start to the end of the next call.
    pub fn due(&self) -> f64 {
        self.next
    }

    /// The next call, of a centre that opened at `start` (milliseconds).
    pub fn call(&mut self, start: u64) -> Call {
        let agent = self.rng.usize(..self.agents);
        let queue = QUEUES[self.rng.usize(..QUEUES.len())];
        let duration_s = tenths(5.0 + self.exponential() * (TALK_S - 5.0));
        let ivr_s = tenths(2.0 + self.exponential() * (IVR_S - 2.0));
        let ts = start + self.next as u64;
        self.recent.push_back((self.next, agent, duration_s, ivr_s));
        self.advance();
        Call {
            ts,
            agent: format!("agent-{:04}", agent + 1),
            queue,
            duration_s,
            ivr_s,
        }
    }

    /// The averages so many milliseconds from the start; of later calls, none may have been asked for yet.
    pub fn averages(&mut self, at: f64) -> Averages {
        while let Some((ended, ..)) = self.recent.front()
            && *ended <= at - WINDOW_MS
        {
            self.recent.pop_front();
        }
        let count = self.recent.len() as f64;
        let mean = |sum: f64| (count > 0.0).then(|| tenths(sum / count));
        let agents: BTreeSet<usize> = self.recent.iter().map(|call| call.1).collect();
        Averages {
            call_duration: mean(self.recent.iter().map(|call| call.2).sum()),
            active_agents: agents.len(),
            time_ivr: mean(self.recent.iter().map(|call| call.3).sum()),
        }
    }

    /// Calls end independently of each other: a Poisson process.
    fn advance(&mut self) {
        self.next += self.exponential() / self.rate;
    }

    /// Of mean 1.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.rng.f64()).ln()
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(rate: f64, seed: u64, count: usize) -> Vec<Call> {
        let mut center = CallCenter::new(rate, seed);
        (0..count).map(|_| center.call(1_000)).collect()
    }

    #[test]
    fn a_seed_tells_the_calls() {
        assert_eq!(calls(5.0, 7, 500), calls(5.0, 7, 500));
        assert_ne!(calls(5.0, 7, 500), calls(5.0, 8, 500));
    }

    #[test]
    fn as_many_a_second_as_asked_for() {
        for rate in [0.5, 10.0, 2_000.0] {
            let calls = calls(rate, 1, 20_000);
            assert!(calls.is_sorted_by_key(|call| call.ts), "in their order");
            let seconds = (calls[19_999].ts - 1_000) as f64 / 1000.0;
            let got = 20_000.0 / seconds;
            assert!((got / rate - 1.0).abs() < 0.05, "{got} for {rate}");
        }
    }

    #[test]
    fn averages_are_those_of_the_last_minute() {
        let mut center = CallCenter::new(10.0, 3);
        let nothing = Averages {
            call_duration: None,
            active_agents: 0,
            time_ivr: None,
        };
        assert_eq!(center.averages(0.0), nothing);
        let mut all = Vec::new();
        while center.due() <= 90_000.0 {
            all.push(center.call(0));
        }
        let recent: Vec<&Call> = all.iter().filter(|call| call.ts >= 30_000).collect();
        let mean: f64 = recent.iter().map(|c| c.duration_s).sum::<f64>() / recent.len() as f64;
        let agents: BTreeSet<&String> = recent.iter().map(|call| &call.agent).collect();
        let got = center.averages(90_000.0);
        assert!((got.call_duration.expect("calls") - mean).abs() < 0.06);
        assert_eq!(got.active_agents, agents.len());
        assert!(center.averages(1e6) == nothing, "they are forgotten");
    }
}
