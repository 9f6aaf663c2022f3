//! What the tests share. Each test file uses a part of it.
#![allow(dead_code, reason = "each test uses a part of it")]

pub mod client;
pub mod raw;
pub mod reading;
pub mod server;
pub mod terminal;
pub mod tool;
