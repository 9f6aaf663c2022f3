//! What publishes by itself.

pub mod machine;
