//! One question asked of several transports: which is the best, which are not told apart from it, and how far behind
//! the others are.

use super::results::Results;
use super::scenarios::Better;
use super::scenarios::scenario;
use super::series::Series;
use super::stats;
use super::stats::Sample;
use super::warnings;
use super::words;

/// Something to judge transports by.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// In words.
    pub title: &'static str,
    /// The scenario that answers it.
    pub scenario: &'static str,
    /// The figures that are added up for it.
    pub figures: &'static [&'static str],
    /// Their unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Whether a saturated load client would make it worse, as it does times and speeds.
    pub timed: bool,
}

/// Transports in the order of an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// The parts of the figure that were not measured on any transport.
    pub without: Vec<&'static str>,
    /// The one with the best median.
    pub best: Standing,
    /// Those that are not told apart from it.
    pub level: Vec<Standing>,
    /// Those that are clearly worse.
    pub worse: Vec<Standing>,
}

/// A transport in an answer.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Which.
    pub wire: &'static str,
    /// What it had, by repetition.
    pub sample: Sample,
    /// Its load client was saturated, and that could be all that makes it worse.
    pub limited: bool,
}

impl Question {
    /// Asks it of these transports. None when fewer than two have it in [`stats::FEWEST`] repetitions.
    pub fn ask(&self, results: &Results, variant: &str, wires: &[&'static str]) -> Option<Answer> {
        let series = wires.iter();
        let series: Vec<Series> = series
            .filter_map(|wire| Series::of(results, self.scenario, variant, wire))
            .collect();
        let figures = self.figures.iter();
        let figures = figures.filter(|name| series.iter().any(|series| series.applies(name)));
        let (parts, without): (Vec<&str>, Vec<&str>) =
            figures.partition(|name| series.iter().any(|series| !series.sample(name).is_empty()));
        let mut standings: Vec<Standing> = series
            .iter()
            .filter_map(|series| self.standing(series, &parts))
            .collect();
        // A stable sort: of two with the same median the one with the simpler client stays first.
        standings.sort_by(|a, b| {
            let (a, b) = (a.sample.median(), b.sample.median());
            let order = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
            match self.better {
                Better::More => order.reverse(),
                _ => order,
            }
        });
        if standings.len() < 2 {
            return None;
        }
        let best = standings.remove(0);
        let behind = |standing: &Standing| standing.sample.differs(&best.sample);
        let (worse, level) = standings
            .into_iter()
            .partition(|standing| behind(standing) && !standing.limited);
        Some(Answer {
            question: *self,
            without,
            best,
            level,
            worse,
        })
    }

    /// None when it cannot be judged.
    fn standing(&self, series: &Series, parts: &[&str]) -> Option<Standing> {
        let samples = parts.iter().map(|part| series.sample(part));
        let sample = samples.reduce(|sum, part| sum.plus(&part))?;
        // What was never sent has no latency, and is not among the deliveries that the CPU is divided by.
        let unsent = |name: &str| {
            series
                .sample(name)
                .spread()
                .is_some_and(|s| s.greatest > 0.0)
        };
        let sound = sample.len() >= stats::FEWEST && !unsent("unsent");
        sound.then(|| Standing {
            wire: series.wire,
            sample,
            limited: self.timed && series.done().any(warnings::saturated),
        })
    }
}

impl Answer {
    /// Whether this is the best or not told apart from it.
    pub fn leads(&self, wire: &str) -> bool {
        let mut leading = self.level.iter().chain([&self.best]);
        leading.any(|standing| standing.wire == wire)
    }

    /// What this transport had, if it was judged.
    pub fn sample(&self, wire: &str) -> Option<&Sample> {
        let behind = self.level.iter().chain(&self.worse);
        let mut all = behind.chain([&self.best]);
        let found = all.find(|standing| standing.wire == wire);
        found.map(|standing| &standing.sample)
    }

    /// What it is about, without what was not measured of it.
    pub fn title(&self) -> String {
        if self.without.is_empty() {
            return self.question.title.to_owned();
        }
        let scenario = scenario(self.question.scenario);
        let figures = scenario.map_or(&[][..], |scenario| scenario.figures);
        let without = figures
            .iter()
            .filter(|figure| self.without.contains(&figure.name));
        let without: Vec<&str> = without.map(|figure| figure.title).collect();
        format!("{} without {}", self.question.title, words::list(&without))
    }

    /// `sse-http2 6.95 ms (6.62-7.10)`.
    pub fn best_words(&self) -> String {
        format!("{} {}", self.best.wire, self.of(&self.best.sample))
    }

    /// `ws-http2, wss with a saturated load client`; `-` when there are none. Their figures are in the table.
    pub fn level_words(&self) -> String {
        joined(self.level.iter().map(|standing| {
            let saved = standing.limited && standing.sample.differs(&self.best.sample);
            let saturated = " with a saturated load client";
            format!("{}{}", standing.wire, if saved { saturated } else { "" })
        }))
    }

    /// `wss 6.23 x (5.90-7.00)`: how many times the best's; `-` when there are none.
    pub fn worse_words(&self) -> String {
        joined(self.worse.iter().map(|standing| {
            let ratio = ratio(&standing.sample, &self.best.sample);
            format!(
                "{} {}",
                standing.wire,
                ratio.unwrap_or_else(|| self.of(&standing.sample))
            )
        }))
    }

    /// All of it in one line.
    pub fn words(&self) -> String {
        let mut words = format!("{}: {}", self.title(), self.best_words());
        if !self.level.is_empty() {
            words += &format!("; not told apart: {}", self.level_words());
        }
        if !self.worse.is_empty() {
            words += &format!("; behind: {}", self.worse_words());
        }
        words
    }

    fn of(&self, sample: &Sample) -> String {
        let words = words::spread(sample.spread());
        match words.split_once(' ') {
            Some((median, ends)) => format!("{median} {} {ends}", self.question.unit),
            None => format!("{words} {}", self.question.unit),
        }
    }
}

/// `6.23 x (5.90-7.00)`: how many times the other's, within a repetition; none when the other is nothing.
pub fn ratio(sample: &Sample, base: &Sample) -> Option<String> {
    let ratio = words::spread(Some(sample.over(base).spread()?));
    Some(match ratio.split_once(' ') {
        Some((median, ends)) => format!("{median} x {ends}"),
        None => format!("{ratio} x"),
    })
}

fn joined(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match words.len() {
        0 => words::NOTHING.to_owned(),
        _ => words.join(", "),
    }
}
