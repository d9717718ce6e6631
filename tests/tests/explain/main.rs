//! `culvert explain`, and the list of who reaches whom: what is said, and that it is what happens.

mod common;
mod live;
mod questions;
mod server;
mod stage;
mod table;
