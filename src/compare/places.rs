//! Where something was so: scenarios, variants and transports in as few words as say it exactly.

use super::results::Results;
use super::scenarios::SCENARIOS;
use super::series::Series;
use super::series::transports;
use super::series::variants;

/// Collects places, and says them.
#[derive(Clone, Debug, Default)]
pub struct Places<'a> {
    found: Vec<(&'a str, &'a str, &'a str)>,
}

impl<'a> Places<'a> {
    /// All series of these results of which this holds.
    pub fn of(series: &[Series<'a>], holds: impl Fn(&Series<'a>) -> bool) -> Places<'a> {
        let mut places = Places::default();
        for series in series.iter().filter(|series| holds(series)) {
            places.add(series.scenario.name, series.variant, series.wire);
        }
        places
    }

    /// Once each.
    pub fn add(&mut self, scenario: &'a str, variant: &'a str, wire: &'a str) {
        let place = (scenario, variant, wire);
        if !self.found.contains(&place) {
            self.found.push(place);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `fanout (ws, wss); batch 1, 10 (all)`: variants with the same transports together, and `all` for all that were
    /// measured there.
    pub fn words(&self, results: &Results) -> String {
        let known = SCENARIOS.iter().map(|scenario| scenario.name);
        let here = |name: &&str| self.found.iter().any(|(scenario, ..)| scenario == name);
        let said: Vec<String> = known
            .filter(here)
            .flat_map(|scenario| self.of_scenario(results, scenario))
            .collect();
        said.join("; ")
    }

    fn of_scenario(&self, results: &Results, scenario: &str) -> Vec<String> {
        let all = variants(results, scenario);
        let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
        for variant in &all {
            let Some(wires) = self.wires(results, scenario, variant) else {
                continue;
            };
            match groups.iter_mut().find(|(known, _)| *known == wires) {
                Some((_, variants)) => variants.push(variant),
                None => groups.push((wires, vec![variant])),
            }
        }
        let said = groups.into_iter().map(|(wires, variants)| {
            let every = variants.len() == all.len();
            let variants = if every {
                String::new()
            } else {
                format!(" {}", variants.join(", "))
            };
            format!("{scenario}{variants} ({wires})")
        });
        said.collect()
    }

    fn wires(&self, results: &Results, scenario: &str, variant: &str) -> Option<String> {
        let measured = transports(results).into_iter().map(|(wire, _)| wire);
        let measured: Vec<&str> = measured
            .filter(|wire| Series::of(results, scenario, variant, wire).is_some())
            .collect();
        let found = measured.iter().copied();
        let found: Vec<&str> = found
            .filter(|wire| self.found.contains(&(scenario, variant, wire)))
            .collect();
        match found.len() {
            0 => None,
            count if count > 1 && count == measured.len() => Some("all".to_owned()),
            _ => Some(found.join(", ")),
        }
    }
}
