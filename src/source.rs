//! What publishes by itself.

pub mod bridge;
pub mod call_center;
pub mod machine;
