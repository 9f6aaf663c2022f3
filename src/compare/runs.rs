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
use super::results::{self, Environment, Faults, Results, Run, Settings};
use super::scenarios::SCENARIOS;
use super::subject::{Own, Running, Subject};
use super::{Options, Progress};
use crate::client::Transport;
use crate::load::socket::Endpoint;
use crate::load::{Ended, Load, Payload, Result, Target};

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

/// What a run is made of.
struct How<'a> {
    job: &'a Job,
    options: &'a Options,
    interrupt: &'a Arc<AtomicBool>,
    topic: &'a str,
    /// How long it may take.
    left: Duration,
}

/// How a run ended.
enum End {
    Done,
    /// The time was over before it began, or in the middle of it.
    Late,
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
        self.results.environment.others = remote.others;
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
            };
            if let Err(why) = hear(&self.results, progress) {
                self.results.ended = Some(why);
                break;
            }
            let left = self.options.within.saturating_sub(began.elapsed());
            let before = Instant::now();
            let end = if left < longest + RESERVE {
                End::Late
            } else {
                self.run_one(job, repetition, left)
            };
            longest = longest.max(before.elapsed());
            match end {
                End::Done => continue,
                End::Over(why) => self.results.ended = Some(why),
                End::Late => self.out_of_time(job, repetition),
            }
            break;
        }
        self.results
    }

    /// A repetition less makes the figures weaker; without the first one there are none of something.
    fn out_of_time(&mut self, job: &Job, repetition: usize) {
        let (number, of) = (repetition + 1, self.options.repetitions);
        let within = self.options.within.as_secs();
        let why = format!(
            "repetition {number} of {of} from {} on: --within {within}s was over",
            name(job)
        );
        if repetition == 0 {
            self.results.ended = Some(format!(
                "not done: {why}; give it more, or fewer --scenarios"
            ));
        } else {
            self.results.skipped.push(why);
        }
    }

    fn run_one(&mut self, job: &Job, repetition: usize, left: Duration) -> End {
        let began = Instant::now();
        // A server keeps what was published on a topic, and only who begins with that needs one of its own.
        let topic = match job.scenario.name {
            "connect" => format!("compare/{:x}/{}", self.token, self.results.runs.len()),
            _ => format!("compare/{:x}", self.token),
        };
        let mut run = Run {
            scenario: job.scenario.name.to_owned(),
            wire: job.transport.name.to_owned(),
            variant: job.variant.clone(),
            repetition,
            load: results::Load {
                readers: job.readers(),
                connections: job.connections,
                rate: job.size.rate,
                payload: job.size.payload,
            },
            ..Run::default()
        };
        let mut end = End::Done;
        let how = How {
            job,
            options: self.options,
            interrupt: &self.interrupt.clone(),
            topic: &topic,
            left,
        };
        if let Err(error) = self.measure(&how, &mut run, &mut end) {
            if error.downcast_ref() == Some(&Ended::Overdue) {
                end = End::Late;
            }
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

    fn measure(&mut self, how: &How, run: &mut Run, end: &mut End) -> Result<()> {
        let How { job, topic, .. } = *how;
        let transport = job.transport;
        let apart = job.scenario.name == "loss";
        let (mut running, target) = match &mut self.subject {
            Subject::Own(own) => {
                let server = if apart {
                    own.start_apart(transport)
                } else {
                    own.start(transport)
                };
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
        let made = if apart {
            in_bad_network(how, target, &mut running, run)
        } else {
            load(how, target, &mut running, run)
        };
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
fn load(how: &How, target: Target, running: &mut Running, run: &mut Run) -> Result<()> {
    let job = how.job;
    let size = job.size.payload;
    let payload = if job.is_table() {
        Payload::Rows(size)
    } else {
        Payload::Text(size)
    };
    let mut load = Load::new(target, payload, how.interrupt.clone())?;
    load.set_patience(how.options.late);
    load.end_within(how.left);
    if job.scenario.name == "loss" {
        // The network is meant to be bad.
        load.tally.late_after = u64::MAX;
    }
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
    how: &How,
    mut target: Target,
    running: &mut Running,
    run: &mut Run,
) -> Result<()> {
    let server = running
        .pid()
        .ok_or("a server that runs elsewhere has its own network")?;
    // Other packets each time, and the same for every wire.
    let link = network::Link {
        seed: run.repetition as u64,
        ..how.options.link
    };
    network::with_network(server, link, |network| {
        target.readers.address.set_ip(network.bad);
        target.publishing.address.set_ip(network.clean);
        load(how, target, running, run)
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
        others: 0,
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
