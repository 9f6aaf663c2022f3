//! The stats of several replicas as one object.

use serde_json::{Map, Value, json};

/// All replicas, and the sums of what they count by wire; without others, this one is all there is.
pub(super) fn sum(mut replicas: Vec<Value>, own: Value) -> Value {
    if replicas.is_empty() {
        replicas
            .push(json!({ "server": own["server"], "age_ms": 0, "is_this": true, "stats": own }));
    }
    let mut wires = Map::new();
    for replica in &replicas {
        let counted = replica["stats"]["wires"].as_object();
        for (wire, numbers) in counted.into_iter().flatten() {
            let sums = wires.entry(wire.clone()).or_insert_with(|| json!({}));
            for (name, number) in numbers.as_object().into_iter().flatten() {
                let sum = sums[name].as_u64().unwrap_or(0);
                sums[name] = sum.saturating_add(number.as_u64().unwrap_or(0)).into();
            }
        }
    }
    json!({ "replicas": replicas, "wires": wires })
}
