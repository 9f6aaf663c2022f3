//! What a run is asked for.

use std::path::PathBuf;

use crate::Result;
use crate::cases::{self, CASES, Case};
use crate::command;
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
            triwire: command::triwire(),
        };
        let mut given = command::Options::of(arguments);
        while let Some(flag) = given.flag() {
            match flag {
                "--cases" => options.cases = pick(given.value()?)?,
                "--reps" => options.repetitions = given.value()?.parse()?,
                "--payload" => options.payload = given.value()?.parse()?,
                "--peers" => options.peers = peers(given.value()?)?,
                "--server" => options.triwire = given.value()?.into(),
                "--quick" => (options.quick, options.repetitions) = (true, 1),
                "--pin" => options.pin = true,
                "--bare-only" => options.bare_only = true,
                _ => return given.unknown(),
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
            return command::no_case(name, CASES.iter().map(|case| case.name));
        }
    }
    Ok(picked)
}
