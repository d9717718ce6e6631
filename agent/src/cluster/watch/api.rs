//! The few requests that following takes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header::ACCEPT_ENCODING};
use http_body_util::BodyExt as _;
use kube::{
    Client,
    api::{ListParams, WatchParams},
    client::Body,
    core,
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    Timing,
    fault::{Fault, causes},
};

/// The API server, as far as following needs it.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    pub(super) timing: Timing,
}

/// The lines of a watch, as they come.
pub(super) struct Lines {
    body: Body,
    /// What came after the last line that is complete.
    rest: BytesMut,
    patience: Duration,
}

/// The largest answer that is read, in bytes: a page of 500 objects of half a megabyte each.
const MAX_ANSWER: usize = 256 << 20;

/// The longest line of a watch, in bytes: objects end at 1.5 MB in etcd.
const MAX_LINE: usize = 16 << 20;

impl Api {
    pub(super) const fn new(client: Client, timing: Timing) -> Self {
        Self { client, timing }
    }

    /// A document of the API server's own, such as what it serves.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        let request = Request::get(path).body(Vec::new()).map_err(|error| Fault::no_answer(&error))?;
        let text = self.fetch(request).await?;
        serde_json::from_slice(&text).map_err(|error| Fault::Malformed(error.to_string()))
    }

    /// One page of a list.
    pub(super) async fn page(&self, path: &str, params: &ListParams) -> Result<Bytes, Fault> {
        let request = core::Request::new(path).list(params).map_err(|error| Fault::no_answer(&error))?;
        self.fetch(request).await
    }

    /// All changes since that version.
    pub(super) async fn watch(
        &self,
        path: &str,
        params: &WatchParams,
        version: &str,
    ) -> Result<Lines, Fault> {
        let request = core::Request::new(path).watch(params, version);
        let mut request = request.map_err(|error| Fault::no_answer(&error))?;
        // A compressor would hold events back until it has enough of them.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let patience = self.timing.answer;
        let answer = timeout(patience, self.send(request)).await.map_err(|_| Fault::too_slow(patience))??;
        Ok(Lines { body: answer.into_body(), rest: BytesMut::new(), patience: self.timing.silence })
    }

    async fn fetch(&self, request: Request<Vec<u8>>) -> Result<Bytes, Fault> {
        let patience = self.timing.answer;
        let fetching = async { collect(self.send(request).await?.into_body()).await };
        timeout(patience, fetching).await.map_err(|_| Fault::too_slow(patience))?
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Body>, Fault> {
        let answer = self.client.send(request.map(Body::from)).await;
        let (head, body) = answer.map_err(|error| Fault::no_answer(&error))?.into_parts();
        if head.status == StatusCode::OK {
            return Ok(Response::from_parts(head, body));
        }
        Err(Fault::of_answer(head.status, &head.headers, &collect(body).await?))
    }
}

async fn collect(mut body: Body) -> Result<Bytes, Fault> {
    let mut all = BytesMut::new();
    while let Some(data) = next_data(&mut body).await.map_err(|error| Fault::no_answer(&error))? {
        if all.len() + data.len() > MAX_ANSWER {
            return Err(Fault::Malformed(format!("expected at most {MAX_ANSWER} bytes, found more")));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

async fn next_data(body: &mut Body) -> Result<Option<Bytes>, kube::Error> {
    while let Some(frame) = body.frame().await.transpose()? {
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

impl Lines {
    /// One or more complete lines; none is the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let data = timeout(self.patience, next_data(&mut self.body)).await;
            let data = data.map_err(|_| Fault::Cut(format!("nothing came for {:?}", self.patience)))?;
            let Some(data) = data.map_err(|error| Fault::Cut(causes(&error)))? else {
                return Ok(None);
            };
            let complete = data.iter().rposition(|byte| *byte == b'\n').map(|at| self.rest.len() + at + 1);
            self.rest.extend_from_slice(&data);
            if let Some(complete) = complete {
                return Ok(Some(self.rest.split_to(complete).freeze()));
            }
            if self.rest.len() > MAX_LINE {
                return Err(Fault::Malformed(format!(
                    "expected at most {MAX_LINE} bytes in a line, found more"
                )));
            }
        }
    }
}
