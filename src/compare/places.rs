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

    /// `everything`, or `connect, fanout (all); batch 1, 10 (ws, wss)`: what has the same transports together, and
    /// `all` for all that were measured there.
    pub fn words(&self, results: &Results) -> String {
        if Series::all(results).iter().all(|series| self.has(series)) {
            return "everything".to_owned();
        }
        let mut groups: Groups = Vec::new();
        for scenario in &SCENARIOS {
            for (wires, variants) in self.of_scenario(results, scenario.name) {
                let what =
                    [scenario.name, &variants].join(if variants.is_empty() { "" } else { " " });
                insert(&mut groups, wires, what);
            }
        }
        let said = groups
            .iter()
            .map(|(wires, what)| format!("{} ({wires})", what.join(", ")));
        said.collect::<Vec<_>>().join("; ")
    }

    fn has(&self, series: &Series) -> bool {
        self.found
            .contains(&(series.scenario.name, series.variant, series.wire))
    }

    /// Transports, and in which variants; no variants are named when it is in all of them.
    fn of_scenario(&self, results: &Results, scenario: &str) -> Vec<(String, String)> {
        let all = variants(results, scenario);
        let mut groups: Groups = Vec::new();
        for variant in &all {
            if let Some(wires) = self.wires(results, scenario, variant) {
                insert(&mut groups, wires, (*variant).to_owned());
            }
        }
        let groups = groups.into_iter().map(|(wires, variants)| {
            let every = variants.len() == all.len();
            (
                wires,
                if every {
                    String::new()
                } else {
                    variants.join(", ")
                },
            )
        });
        groups.collect()
    }

    fn wires(&self, results: &Results, scenario: &str, variant: &str) -> Option<String> {
        let several = transports(results).len() > 1;
        let measured = transports(results).into_iter();
        let measured: Vec<Series> = measured
            .filter_map(|(wire, _)| Series::of(results, scenario, variant, wire))
            .collect();
        let found = measured.iter().filter(|series| self.has(series));
        let found: Vec<&str> = found.map(|series| series.wire).collect();
        match found.len() {
            0 => None,
            count if several && count == measured.len() => Some("all".to_owned()),
            _ => Some(found.join(", ")),
        }
    }
}

/// What they have in common, and who they are.
type Groups = Vec<(String, Vec<String>)>;

fn insert(groups: &mut Groups, key: String, value: String) {
    match groups.iter_mut().find(|(known, _)| *known == key) {
        Some((_, values)) => values.push(value),
        None => groups.push((key, vec![value])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted::full;
    use super::*;

    #[test]
    fn as_few_words_as_say_it_exactly() {
        let results = full();
        let all = Series::all(&results);
        let said = |holds: &dyn Fn(&Series) -> bool| Places::of(&all, holds).words(&results);
        for (words, expected) in [
            (said(&|_| true), "everything"),
            (said(&|_| false), ""),
            (
                said(&|series| matches!(series.scenario.name, "connect" | "batch")),
                "connect, batch (all)",
            ),
            (
                said(&|series| series.scenario.name == "batch" && series.variant != "1"),
                "batch 10, 100, 1000 (all)",
            ),
            (
                said(&|series| series.wire == "ws" && series.scenario.name != "loss"),
                "connect, fanout, throughput, batch, bytes, idle, streams 1, resume, slow (ws)",
            ),
            (
                said(&|series| series.scenario.name == "streams" && series.variant == "10"),
                "streams 10 (all)",
            ),
        ] {
            assert_eq!(words, expected);
        }
    }
}
