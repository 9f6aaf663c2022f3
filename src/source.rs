//! What publishes by itself.

pub mod call_center;
pub mod machine;
