//! What the index answers.

mod destinations;
mod pods;
mod properties;
mod reach;
mod routes;
mod settings;
