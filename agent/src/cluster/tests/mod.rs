//! What the index answers.

mod destinations;
mod entries;
mod pods;
mod properties;
mod prospects;
mod reach;
mod routes;
mod settings;
