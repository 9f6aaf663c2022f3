//! The runs of a transport in one scenario and variant, seen together; and whether two results say the same.

use super::results::Faults;
use super::results::Results;
use super::results::Run;
use super::scenarios::Better;
use super::scenarios::SCENARIOS;
use super::scenarios::Scenario;
use super::stats::Sample;
use super::stats::pooled;

/// All transports, in the order of the tables: over TLS first, as browsers speak HTTP/2 no other way. Within each
/// half the simplest client comes first: an EventSource resumes by itself, a WebSocket needs code that does, and long
/// polling needs all of it; among two of a kind the one that browsers make of a plain URL.
pub const TRANSPORTS: [(&str, Security); 9] = [
    ("sse-http2", Security::Tls),
    ("sse-http1s", Security::Tls),
    ("wss", Security::Tls),
    ("ws-http2", Security::Tls),
    ("sse-http1", Security::Cleartext),
    ("sse-h2c", Security::Cleartext),
    ("ws", Security::Cleartext),
    ("ws-h2c", Security::Cleartext),
    ("long-poll", Security::Cleartext),
];

/// Whether a transport is encrypted: a decision that comes before which transport, so the two are judged apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// It runs over TLS.
    Tls,
    /// It does not.
    Cleartext,
}

impl Security {
    /// In words that go on after "wires".
    pub fn words(self) -> &'static str {
        match self {
            Security::Tls => "over TLS",
            Security::Cleartext => "in cleartext",
        }
    }
}

/// The transports of these results, in the order of the tables; unknown names are not among them.
pub fn transports(results: &Results) -> Vec<(&'static str, Security)> {
    let measured = |name: &str| results.runs.iter().any(|run| run.wire == name);
    let all = TRANSPORTS.into_iter();
    all.filter(|(name, _)| measured(name)).collect()
}

/// The variants of a scenario in these results: by [`link`] in the order of the runs, and by number.
pub fn variants<'a>(results: &'a Results, scenario: &str) -> Vec<&'a str> {
    let mut variants: Vec<&str> = Vec::new();
    let mut links: Vec<&str> = Vec::new();
    for run in results.runs.iter().filter(|run| run.scenario == scenario) {
        if !variants.contains(&&*run.variant) {
            variants.push(&run.variant);
            links.push(link(&run.variant).0);
        }
    }
    variants.sort_by_key(|variant| {
        let (name, number) = link(variant);
        (links.iter().position(|link| *link == name), number)
    });
    variants
}

/// `1% loss, 20 connections` is the link `1% loss` and 20 connections; `100` is 100 of something.
pub fn link(variant: &str) -> (&str, u64) {
    let (name, rest) = variant.rsplit_once(", ").unwrap_or(("", variant));
    let number = rest
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    number.map_or((variant, 0), |number| (name, number))
}

/// The runs of a transport in one scenario and variant.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Which scenario.
    pub scenario: &'static Scenario,
    /// Which transport.
    pub wire: &'static str,
    /// Which variant; empty when there are none.
    pub variant: &'a str,
    /// In the order in which they were made.
    pub runs: Vec<&'a Run>,
}

impl<'a> Series<'a> {
    /// All series that have a run, scenario by scenario, variant by variant, in the order of the tables.
    pub fn all(results: &'a Results) -> Vec<Series<'a>> {
        let mut all = Vec::new();
        for scenario in &SCENARIOS {
            for variant in variants(results, scenario.name) {
                for (wire, _) in transports(results) {
                    all.extend(Series::of(results, scenario.name, variant, wire));
                }
            }
        }
        all
    }

    /// None when there is no such run.
    pub fn of(
        results: &'a Results,
        scenario: &str,
        variant: &str,
        wire: &str,
    ) -> Option<Series<'a>> {
        let scenario = SCENARIOS.iter().find(|known| known.name == scenario)?;
        let (wire, _) = TRANSPORTS.into_iter().find(|(name, _)| *name == wire)?;
        let ours = |run: &&Run| {
            run.scenario == scenario.name && run.wire == wire && run.variant == variant
        };
        let runs: Vec<&Run> = results.runs.iter().filter(ours).collect();
        let variant = &runs.first()?.variant;
        Some(Series {
            scenario,
            wire,
            variant,
            runs,
        })
    }

    /// The runs that were done to their end: only their figures count.
    pub fn done(&self) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().copied().filter(|run| run.error.is_none())
    }

    /// A figure, by repetition.
    pub fn sample(&self, figure: &str) -> Sample {
        let values = self
            .done()
            .filter_map(|run| Some((run.repetition, *run.figures.get(figure)?)));
        Sample::new(values)
    }

    /// Whether this transport has such a thing: those in cleartext have no TLS.
    pub fn applies(&self, figure: &str) -> bool {
        let tls = TRANSPORTS.contains(&(self.wire, Security::Tls));
        tls || !figure.starts_with("tls_")
    }

    /// The latencies of all repetitions in one histogram.
    pub fn latency(&self) -> Vec<(u64, u64)> {
        pooled(self.done().map(|run| &run.latency[..]))
    }

    /// All faults, also of runs that were not done to their end.
    pub fn faults(&self) -> Faults {
        let mut sum = Faults::default();
        for run in &self.runs {
            sum.lost += run.faults.lost;
            sum.doubled += run.faults.doubled;
            sum.reordered += run.faults.reordered;
            sum.late += run.faults.late;
        }
        sum
    }
}

/// What two comparisons of the same thing say of each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// How many figures both have, often enough to tell.
    pub compared: usize,
    /// Those that differ by more than their own spread. The machine may have been another that hour.
    pub moved: Vec<String>,
    /// Pairs of transports of which one says that the first is better, and the other that the second is. These no
    /// machine explains.
    pub contrary: Vec<String>,
}

/// Holds two results against each other, by the rule that tells two transports apart.
pub fn agreement(ours: &Results, theirs: &Results) -> Agreement {
    let mut agreement = Agreement::default();
    let both: Vec<(Series, Series)> = Series::all(ours)
        .into_iter()
        .filter_map(|a| {
            let b = Series::of(theirs, a.scenario.name, a.variant, a.wire)?;
            Some((a, b))
        })
        .collect();
    for (index, (a, b)) in both.iter().enumerate() {
        let judged = a.scenario.figures.iter();
        for figure in judged.filter(|figure| figure.better != Better::Neither) {
            let (x, y) = (a.sample(figure.name), b.sample(figure.name));
            let place = |wire: &str| {
                let words = [a.scenario.name, a.variant, wire, figure.name];
                let words = words.into_iter().filter(|word| !word.is_empty());
                words.collect::<Vec<_>>().join(" ")
            };
            agreement.compared += usize::from(x.len().min(y.len()) >= super::stats::FEWEST);
            if x.differs(&y) {
                agreement.moved.push(place(a.wire));
            }
            let later = both[index + 1..].iter();
            for (c, d) in later.filter(|(c, _)| same_variant(a, c)) {
                let here = order(&x, &c.sample(figure.name));
                let there = order(&y, &d.sample(figure.name));
                if here.is_some() && there.is_some() && here != there {
                    let pair = format!("{} and {}", a.wire, c.wire);
                    agreement.contrary.push(place(&pair));
                }
            }
        }
    }
    agreement
}

fn same_variant(a: &Series, b: &Series) -> bool {
    a.scenario.name == b.scenario.name && a.variant == b.variant
}

/// Whether the first is the greater; none when they are not told apart.
fn order(a: &Sample, b: &Sample) -> Option<bool> {
    a.differs(b).then(|| a.median() > b.median())
}

#[cfg(test)]
mod tests {
    use super::super::planted::Planted;
    use super::*;

    fn planted(sse: [f64; 3], ws: [f64; 3]) -> Results {
        Planted::new(3)
            .figure("fanout", "sse-http1", "", "p99_ms", &sse)
            .figure("fanout", "ws", "", "p99_ms", &ws)
            .results()
    }

    #[test]
    fn a_run_with_an_error_gives_faults_and_no_figures() {
        let mut results = planted([1.0, 2.0, 9.0], [1.0; 3]);
        results.runs[2].error = Some("the server is gone".to_owned());
        results.runs[2].faults.lost = 4;
        let series = Series::of(&results, "fanout", "", "sse-http1").unwrap();
        assert_eq!(series.sample("p99_ms").spread().unwrap().greatest, 2.0);
        assert_eq!(series.faults().lost, 4);
    }

    #[test]
    fn variants_are_in_the_order_of_their_numbers() {
        let mut planted = Planted::new(1);
        for variant in ["1", "100", "10", "1000"] {
            planted = planted.figure("batch", "ws", variant, "rows_per_s", &[1.0]);
        }
        for variant in [
            "no loss, 20 connections",
            "1% loss, 1 connection",
            "a bad day",
            "no loss, 1 connection",
        ] {
            planted = planted.figure("loss", "ws", variant, "p99_ms", &[1.0]);
        }
        let results = planted.results();
        assert_eq!(variants(&results, "batch"), ["1", "10", "100", "1000"]);
        let loss = [
            "no loss, 1 connection",
            "no loss, 20 connections",
            "1% loss, 1 connection",
            "a bad day",
        ];
        assert_eq!(variants(&results, "loss"), loss);
    }

    #[test]
    fn two_results_agree_within_their_spread() {
        let first = planted([1.0, 1.1, 1.2], [2.0, 2.1, 2.2]);
        let same = agreement(&first, &planted([1.1, 1.2, 1.3], [2.1, 2.0, 2.3]));
        assert_eq!(same.compared, 2);
        assert_eq!((same.moved, same.contrary), (vec![], vec![]));

        // A slower machine: everything moved, and the order is the same.
        let slower = agreement(&first, &planted([3.0, 3.1, 3.2], [6.0, 6.1, 6.2]));
        let moved = ["fanout sse-http1 p99_ms", "fanout ws p99_ms"];
        assert_eq!(slower.moved, moved);
        assert_eq!(slower.contrary, Vec::<String>::new());

        let contrary = agreement(&first, &planted([2.0, 2.1, 2.2], [1.0, 1.1, 1.2]));
        assert_eq!(contrary.contrary, ["fanout sse-http1 and ws p99_ms"]);

        // Too few repetitions say nothing, and do not agree either.
        let one = Planted::new(1).figure("fanout", "ws", "", "p99_ms", &[9.0]);
        assert_eq!(agreement(&first, &one.results()), Agreement::default());
    }
}
