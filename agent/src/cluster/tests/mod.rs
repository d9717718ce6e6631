//! What the index answers.

mod destinations;
mod entries;
mod pods;
mod properties;
mod reach;
mod routes;
mod settings;
