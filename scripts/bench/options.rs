//! The command line.

use std::path::PathBuf;

use crate::Result;
use crate::cases::{self, CASES, Case};
use crate::server::Program;

pub struct Options {
    pub cases: Vec<&'static Case>,
    pub repetitions: usize,
    pub payload: usize,
    pub quick: bool,
    pub pin: bool,
    pub bare_only: bool,
    /// Other servers to be measured beside triwire.
    pub peers: Vec<Program>,
    pub triwire: PathBuf,
}

impl Options {
    /// Reads what follows `run`.
    pub fn parse(arguments: &[String]) -> Result<Options> {
        let mut options = Options {
            cases: CASES.iter().collect(),
            repetitions: 5,
            payload: 128,
            quick: false,
            pin: false,
            bare_only: false,
            peers: Vec::new(),
            triwire: option_env!("CARGO_BIN_EXE_triwire")
                .unwrap_or("target/release/triwire")
                .into(),
        };
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "--cases" => options.cases = pick(value()?)?,
                "--reps" => options.repetitions = value()?.parse()?,
                "--payload" => options.payload = value()?.parse()?,
                "--peers" => options.peers = peers(value()?)?,
                "--server" => options.triwire = value()?.into(),
                "--quick" => (options.quick, options.repetitions) = (true, 1),
                "--pin" => options.pin = true,
                "--bare-only" => options.bare_only = true,
                _ => return Err(format!("an unknown option: {flag}").into()),
            }
        }
        Ok(options)
    }
}

fn peers(names: &str) -> Result<Vec<Program>> {
    let peer = |name| {
        let mut all = Program::PEERS.into_iter();
        let found = all.find(|peer| peer.name() == name);
        found.ok_or_else(|| format!("no peer {name}").into())
    };
    names.split(',').map(peer).collect()
}

fn pick(names: &str) -> Result<Vec<&'static Case>> {
    let mut picked = Vec::new();
    for name in names.split(',') {
        let before = picked.len();
        picked.extend(cases::picked(name));
        if picked.len() == before {
            let all: Vec<&str> = CASES.iter().map(|case| case.name).collect();
            return Err(format!("no case {name}; there are {}", all.join(" ")).into());
        }
    }
    Ok(picked)
}
