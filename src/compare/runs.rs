//! All runs in their order, and what comes of them: repetition by repetition, so that what was measured so far is a
//! smaller comparison of the same kind whenever it ends.

use std::fmt::Display;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::measure;
use super::network;
use super::plan::{Job, jobs};
use super::remote::{self, Remote};
use super::results::{Environment, Faults, Results, Run, Settings};
use super::scenarios::SCENARIOS;
use super::subject::{Own, Running, Subject};
use super::{Options, Progress};
use crate::client::Transport;
use crate::load::server::Server;
use crate::load::socket::Endpoint;
use crate::load::{Load, Payload, Result, Target};

/// What is left of the time for ending, and for what is printed.
const RESERVE: Duration = Duration::from_secs(5);

/// Told of each step; a refusal ends the comparison.
pub type Hear<'a> = dyn FnMut(&Results, Progress) -> Result<(), String> + 'a;

/// A comparison while it lasts.
pub struct Comparison<'a> {
    options: &'a Options,
    subject: Subject,
    /// Of a server that runs elsewhere: where its readers and its publisher go.
    endpoints: Vec<(&'static Transport, Endpoint)>,
    publishing: Option<Endpoint>,
    jobs: Vec<Job>,
    results: Results,
    interrupt: Arc<AtomicBool>,
    /// Part of every topic, so that nobody else's events come into it.
    token: u64,
}

/// How a run ended.
enum End {
    Done,
    /// Nothing more can be measured.
    Over(String),
}

impl<'a> Comparison<'a> {
    /// Looks whether all that is asked for can be done, before any long work.
    ///
    /// # Errors
    /// In a line, when nothing of it can.
    pub fn new(options: &'a Options, interrupt: Arc<AtomicBool>) -> Result<Comparison<'a>, String> {
        let subject = match &options.target {
            None => Subject::Own(Own::new()?),
            Some(place) => {
                let cacert = options.cacert.as_deref();
                Subject::Remote(Remote::new(place.clone(), cacert)?)
            }
        };
        let mut comparison = Comparison {
            options,
            results: Results {
                environment: environment(&subject)?,
                settings: settings(options),
                ..Results::default()
            },
            endpoints: Vec::new(),
            publishing: None,
            jobs: jobs(options),
            subject,
            interrupt,
            token: fastrand::u64(..),
        };
        comparison.results.skipped.extend(unasked(options));
        comparison.look_at_target()?;
        comparison.look_at_loss()?;
        Ok(comparison)
    }

    /// Which transports the target has, and whether they can be reached.
    fn look_at_target(&mut self) -> Result<(), String> {
        let Subject::Remote(remote) = &mut self.subject else {
            return Ok(());
        };
        let skipped = &mut self.results.skipped;
        if remote.others > 0 {
            let others = remote.others;
            skipped.push(format!(
                "the target serves {others} streams of others: its CPU and memory are not ours alone"
            ));
        }
        for &transport in &self.options.wires {
            match remote.endpoint(transport) {
                Ok(endpoint) => self.endpoints.push((transport, endpoint)),
                Err(why) => skipped.push(why),
            }
        }
        if self.endpoints.is_empty() {
            return Err(skipped.join("; "));
        }
        self.publishing = Some(remote.publishing()?);
        let endpoints = &self.endpoints;
        let has = |job: &Job| {
            endpoints
                .iter()
                .any(|(one, _)| one.name == job.transport.name)
        };
        self.jobs.retain(has);
        Ok(())
    }

    /// Whether there can be a bad network.
    fn look_at_loss(&mut self) -> Result<(), String> {
        if !self.options.scenarios.contains(&"loss") {
            return Ok(());
        }
        let possible = match &self.subject {
            Subject::Own(_) => network::possible(),
            Subject::Remote(_) => Err("it needs a server of its own, without --target".to_owned()),
        };
        if let Err(why) = possible {
            self.results.skipped.push(format!("loss: {why}"));
            self.jobs.retain(|job| job.scenario.name != "loss");
        }
        if self.jobs.is_empty() {
            return Err(self.results.skipped.join("; "));
        }
        Ok(())
    }

    /// The runs of one repetition.
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }

    /// What is known before the first run.
    pub fn results(&self) -> &Results {
        &self.results
    }

    /// Makes all runs, or as many as the time and whoever interrupts it allow.
    pub fn run(mut self, hear: &mut Hear) -> Results {
        let began = Instant::now();
        let jobs = std::mem::take(&mut self.jobs);
        let all = jobs.len() * self.options.repetitions;
        let mut longest = Duration::ZERO;
        for (index, (repetition, job)) in (0..self.options.repetitions)
            .flat_map(|repetition| jobs.iter().map(move |job| (repetition, job)))
            .enumerate()
        {
            let progress = Progress {
                done: index,
                all,
                what: name(job),
                elapsed: began.elapsed(),
            };
            if let Err(why) = hear(&self.results, progress) {
                self.results.ended = Some(why);
                break;
            }
            let left = self.options.within.saturating_sub(began.elapsed());
            if left < longest.max(Duration::from_secs(1)) + RESERVE {
                let (number, of) = (repetition + 1, self.options.repetitions);
                let within = self.options.within.as_secs();
                self.results.skipped.push(format!(
                    "repetition {number} of {of} was left out from {} on: --within {within}s was over",
                    name(job)
                ));
                break;
            }
            let before = Instant::now();
            let end = self.run_one(job, repetition);
            longest = longest.max(before.elapsed());
            if let End::Over(why) = end {
                self.results.ended = Some(why);
                break;
            }
        }
        self.results
    }

    fn run_one(&mut self, job: &Job, repetition: usize) -> End {
        let began = Instant::now();
        let topic = format!("compare/{:x}/{}", self.token, self.results.runs.len());
        let mut run = Run {
            scenario: job.scenario.name.to_owned(),
            wire: job.transport.name.to_owned(),
            variant: job.variant.clone(),
            repetition,
            ..Run::default()
        };
        let mut end = End::Done;
        if let Err(error) = self.measure(job, &topic, &mut run, &mut end) {
            run.error = Some(error.to_string());
        }
        if self.interrupt.load(Ordering::Relaxed) {
            // It says nothing of the server.
            return End::Over("interrupted".to_owned());
        }
        run.seconds = began.elapsed().as_secs_f64();
        self.results.runs.push(run);
        end
    }

    fn measure(&mut self, job: &Job, topic: &str, run: &mut Run, end: &mut End) -> Result<()> {
        let transport = job.transport;
        let (mut running, target) = match &mut self.subject {
            Subject::Own(own) if job.scenario.name == "loss" => {
                let server = own.start_apart(transport);
                let server = server.inspect_err(|error| *end = unstarted(job, error))?;
                let mut running = Running::Own(server);
                let made = in_bad_network(
                    own,
                    &mut running,
                    job,
                    topic,
                    self.options,
                    &self.interrupt,
                    run,
                );
                *end = over(&made, &mut running, job);
                made?;
                return running.stop();
            }
            Subject::Own(own) => {
                let server = own.start(transport);
                let server = server.inspect_err(|error| *end = unstarted(job, error))?;
                let target = own.target(&server, transport, topic)?;
                (Running::Own(server), target)
            }
            Subject::Remote(remote) => {
                let mut endpoints = self.endpoints.iter();
                let found = endpoints.find(|(one, _)| one.name == transport.name);
                let (_, readers) = found.expect("the others were left out");
                let publishing = self.publishing.as_ref().expect("it was found");
                let target = remote::target(transport, readers, publishing, topic);
                (Running::Remote(remote), target)
            }
        };
        let made = load(
            job,
            target,
            &mut running,
            self.options,
            &self.interrupt,
            run,
        );
        *end = over(&made, &mut running, job);
        made?;
        running.stop()
    }
}

/// What does not start now will not start later.
fn unstarted(job: &Job, error: &dyn Display) -> End {
    End::Over(format!("{}: {error}", name(job)))
}

/// Whether a run that failed did so because there is no server any more.
fn over(made: &Result<()>, running: &mut Running, job: &Job) -> End {
    if made.is_ok() {
        return End::Done;
    }
    match running.death() {
        Some(death) => End::Over(format!(
            "{}: {death}; what was measured before is kept",
            name(job)
        )),
        None => End::Done,
    }
}

/// Puts the load on a server and takes what comes of it.
fn load(
    job: &Job,
    target: Target,
    running: &mut Running,
    options: &Options,
    interrupt: &Arc<AtomicBool>,
    run: &mut Run,
) -> Result<()> {
    let size = job.size.payload;
    let payload = if job.is_table() {
        Payload::Rows(size)
    } else {
        Payload::Text(size)
    };
    let mut load = Load::new(target, payload, interrupt.clone())?;
    load.set_patience(options.late);
    let mut measured = measure::Run {
        job,
        load: &mut load,
        server: running,
        figures: Default::default(),
        faults: Faults::default(),
    };
    let made = measured.make();
    run.figures = measured.figures;
    run.faults = measured.faults;
    run.latency = load.tally.latency.buckets();
    made
}

/// The same over a link that delays and loses, to a server in a network of its own.
fn in_bad_network(
    own: &Own,
    running: &mut Running,
    job: &Job,
    topic: &str,
    options: &Options,
    interrupt: &Arc<AtomicBool>,
    run: &mut Run,
) -> Result<()> {
    let Running::Own(server) = &*running else {
        return Err("a server that runs elsewhere has its own network".into());
    };
    // Other packets each time, and the same for every wire.
    let link = network::Link {
        seed: run.repetition as u64,
        ..options.link
    };
    let pid = server.pid();
    let targets = |network: &network::Network, server: &Server| {
        own.target_at(
            server,
            job.transport,
            topic,
            Some((network.bad, network.clean)),
        )
    };
    network::with_network(pid, link, |network| {
        let Running::Own(server) = &*running else {
            unreachable!("it was looked at");
        };
        let target = targets(&network, server)?;
        load(job, target, running, options, interrupt, run)
    })?
}

fn name(job: &Job) -> String {
    let (scenario, wire) = (job.scenario.name, job.transport.name);
    match &*job.variant {
        "" => format!("{scenario} on {wire}"),
        variant => format!("{scenario} ({variant}) on {wire}"),
    }
}

/// What a quick comparison leaves out by itself.
fn unasked(options: &Options) -> Option<String> {
    let asked = &options.scenarios;
    if !options.quick || *asked != Options::quick().scenarios {
        return None;
    }
    let all = SCENARIOS.iter().map(|scenario| scenario.name);
    let left: Vec<&str> = all.filter(|name| !asked.contains(name)).collect();
    let left = left.join(", ");
    Some(format!(
        "{left}: --quick has no time for them; name them by --scenarios"
    ))
}

fn settings(options: &Options) -> Settings {
    Settings {
        wires: options
            .wires
            .iter()
            .map(|wire| wire.name.to_owned())
            .collect(),
        scenarios: options
            .scenarios
            .iter()
            .map(|&one| one.to_owned())
            .collect(),
        repetitions: options.repetitions,
        readers: options.readers,
        streams: options.streams,
        rate: options.rate,
        payload: options.payload,
        late_s: options.late.as_secs_f64(),
        quick: options.quick,
    }
}

fn environment(subject: &Subject) -> Result<Environment, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let memory = memory
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let load = read("/proc/loadavg");
    let own = env!("CARGO_PKG_VERSION").to_owned();
    let (server, target, pinned) = match subject {
        Subject::Own(server) => (own.clone(), None, server.pinned()),
        Subject::Remote(remote) => {
            let words = "nothing is: the server is the target's own".to_owned();
            (remote.version.clone(), Some(remote.url()), words)
        }
    };
    Ok(Environment {
        began: httpdate::fmt_http_date(SystemTime::now()),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        client: own,
        server,
        target,
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        cpu: field(&read("/proc/cpuinfo"), "model name"),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        memory: memory.unwrap_or(0) * 1024,
        pinned,
        load_before: load
            .split(' ')
            .next()
            .and_then(|one| one.parse().ok())
            .unwrap_or(0.0),
    })
}
