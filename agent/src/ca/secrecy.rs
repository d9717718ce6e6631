//! Talking to the API server about secrets, without leaving them in logs or in memory.

use std::collections::BTreeMap;

use http::Request;
use k8s_openapi::api::{
    authentication::v1::TokenReview,
    core::v1::{ConfigMap, Secret},
};
use kube::{Client, core::request};
use serde::{
    de::{DeserializeOwned, Error as _},
    ser::Serialize,
};
use zeroize::{Zeroize, Zeroizing};

/// An object, of which some parts may have to be wiped from memory after use.
pub(super) trait Wipe {
    /// Wipes those parts.
    fn wipe(&mut self) {}
}

impl Wipe for ConfigMap {}

impl Wipe for Secret {
    fn wipe(&mut self) {
        self.data.iter_mut().flat_map(BTreeMap::values_mut).for_each(|value| value.0.zeroize());
    }
}

impl Wipe for TokenReview {
    fn wipe(&mut self) {
        self.spec.token.zeroize();
    }
}

/// Sends a request and reads the answer. [`kube::Api`] does the same, but logs answers that it cannot read as they are.
pub(super) async fn ask<K: DeserializeOwned>(
    client: &Client,
    request: Result<Request<Vec<u8>>, request::Error>,
) -> Result<K, kube::Error> {
    let request = request.map_err(kube::Error::BuildRequest)?;
    let text = Zeroizing::new(client.request_text(request).await?);
    serde_json::from_str(&text).map_err(|error| kube::Error::SerdeError(without_content(&error)))
}

/// The body of a request; `object` is wiped.
pub(super) fn body<K: Serialize + Wipe>(object: &mut K) -> Result<Vec<u8>, kube::Error> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError);
    object.wipe();
    body
}

/// An error repeats what it found, which may be a secret.
fn without_content(error: &serde_json::Error) -> serde_json::Error {
    serde_json::Error::custom(format_args!(
        "expected an object of the kind that was asked for, found something else ({:?}) at column {}",
        error.classify(),
        error.column()
    ))
}
