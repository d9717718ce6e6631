//! One request, from the token to the certificate.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::{
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use kube::Client;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    metadata::MetadataMap,
    server::{Grpc, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{
    CaOptions, authorize,
    caller::{Caller, Callers},
    csr,
    limit::Limiter,
    outage::Outage,
    pods::Pods,
    refusal::Refusal,
    roots::Roots,
};
use crate::identity::{
    istio_ca::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse},
    with_sources,
};

/// A CSR and a name fit into this many times over.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long a request may take, with its body.
const PATIENCE: Duration = Duration::from_secs(15);
/// How many requests are worked on at a time.
const IN_FLIGHT: usize = 256;
/// How many callers' rates are kept.
const CALLERS: usize = 16 * 1024;
/// How many bad tokens may come from one address at once, and how long until it may try one more. A node has one agent
/// with one token.
const BAD_TOKENS: (u32, Duration) = (32, Duration::from_secs(1));

/// The service, shared by all connections.
#[derive(Clone)]
pub(super) struct Service(Arc<Shared>);

struct Shared {
    options: Arc<CaOptions>,
    roots: Arc<Roots>,
    callers: Callers,
    pods: Pods,
    rates: Limiter<Caller>,
    bad_tokens: Limiter<IpAddr>,
    in_flight: Semaphore,
    api_server: Outage,
}

/// One request, and where it came from.
struct Call {
    shared: Arc<Shared>,
    source: IpAddr,
}

/// What was issued, for the log.
struct Issued {
    chain: Vec<String>,
    not_after: SystemTime,
}

impl Service {
    pub(super) fn new(client: Client, options: Arc<CaOptions>, roots: Arc<Roots>) -> Self {
        let (bad_tokens, refill) = BAD_TOKENS;
        Self(Arc::new(Shared {
            roots,
            callers: Callers::new(client.clone(), &options),
            pods: Pods::new(client),
            rates: Limiter::new(options.burst, options.refill, CALLERS),
            bad_tokens: Limiter::new(bad_tokens, refill, CALLERS),
            in_flight: Semaphore::new(IN_FLIGHT),
            api_server: Outage::default(),
            options,
        }))
    }

    /// Answers one HTTP request that came from `source`.
    pub(super) async fn answer(
        self,
        source: IpAddr,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Body>, Infallible> {
        if request.uri().path() != CREATE_CERTIFICATE {
            return Ok(Status::unimplemented("expected CreateCertificate").into_http());
        }
        let call = Call { shared: self.0, source };
        let answer = timeout(PATIENCE, envelope().unary(call, request)).await;
        Ok(answer.unwrap_or_else(|_| Status::from(&Refusal::TooSlow).into_http()))
    }
}

/// What reads a request out of HTTP, and bounds it.
fn envelope() -> Grpc<ProstCodec<IstioCertificateResponse, IstioCertificateRequest>> {
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_MESSAGE)
}

impl UnaryService<IstioCertificateRequest> for Call {
    type Response = IstioCertificateResponse;
    type Future = BoxFuture<'static, Result<Response<IstioCertificateResponse>, Status>>;

    fn call(&mut self, request: Request<IstioCertificateRequest>) -> Self::Future {
        let (shared, source) = (self.shared.clone(), self.source);
        Box::pin(async move {
            let created = shared.create(source, &request).await;
            shared.note(created.as_ref().err());
            let cert_chain = created.map_err(|refusal| Status::from(&refusal))?;
            Ok(Response::new(IstioCertificateResponse { cert_chain }))
        })
    }
}

impl Shared {
    async fn create(
        &self,
        source: IpAddr,
        request: &Request<IstioCertificateRequest>,
    ) -> Result<Vec<String>, Refusal> {
        // The message has been read: nobody holds one of these by sending slowly.
        let _permit = self.in_flight.try_acquire().map_err(|_| Refusal::Busy)?;
        let caller = self.identify(source, request.metadata()).await.inspect_err(|refusal| {
            tracing::debug!(error = with_sources(refusal), %source, "refused an unknown caller");
        })?;
        self.rates.take(&caller, Instant::now()).map_err(|wait| Refusal::TooMany { wait }).inspect_err(
            |_| {
                tracing::debug!(caller = %caller.account, %source, "refused a caller that asks too often");
            },
        )?;
        let issued = self.issue(&caller, request.get_ref()).await;
        issued.inspect_err(|refusal| {
            let error = with_sources(refusal);
            tracing::info!(error, caller = %caller.account, node = caller.node, %source, "refused a certificate");
        })
    }

    /// Who asks. An address from which many bad tokens came has to wait with further ones; who is known already is
    /// heard.
    async fn identify(&self, source: IpAddr, metadata: &MetadataMap) -> Result<Arc<Caller>, Refusal> {
        let token = bearer(metadata).ok_or(Refusal::NoToken)?;
        if let Some(known) = self.callers.known(token) {
            return Ok(known);
        }
        self.bad_tokens.take(&source, Instant::now()).map_err(|wait| Refusal::TooMany { wait })?;
        let reviewed = self.callers.review(token).await;
        if !matches!(reviewed, Err(Refusal::BadToken)) {
            self.bad_tokens.give_back(&source);
        }
        reviewed
    }

    async fn issue(
        &self,
        caller: &Caller,
        request: &IstioCertificateRequest,
    ) -> Result<Vec<String>, Refusal> {
        let asked = authorize::asked(caller, request.metadata.as_ref(), &self.options.trust_domain)?;
        let key = csr::key_of(&request.csr, &asked)?;
        authorize::allow(caller, &asked, &self.options, &self.pods).await?;
        let issued = self.sign(&asked, &key, request.validity_duration)?;
        let until = humantime::format_rfc3339_seconds(issued.not_after);
        tracing::info!(id = %asked, caller = %caller.account, node = caller.node, %until, "issued a certificate");
        Ok(issued.chain)
    }

    fn sign(
        &self,
        id: &SpiffeId,
        key: &rcgen::SubjectPublicKeyInfo,
        asked_seconds: i64,
    ) -> Result<Issued, Refusal> {
        let now = self.options.clock.now();
        let root = self.roots.signing(now).ok_or(Refusal::NoRoot)?;
        let leaf = root.signer.workload(id, key, self.lifetime(asked_seconds), now)?;
        Ok(Issued { chain: vec![leaf.certificate.pem(), root.pem.clone()], not_after: leaf.not_after })
    }

    /// As long as was asked for, but no longer than certificates may live.
    fn lifetime(&self, asked_seconds: i64) -> Duration {
        let asked = u64::try_from(asked_seconds).ok().filter(|seconds| *seconds > 0);
        asked.map_or(self.options.default_lifetime, Duration::from_secs).min(self.options.max_lifetime)
    }

    /// Whether the API server is there is learned from requests.
    fn note(&self, refusal: Option<&Refusal>) {
        match refusal {
            Some(refusal @ Refusal::ApiServer(_)) => {
                self.api_server.failed("cannot ask the API server about callers", refusal);
            }
            None => self.api_server.over("the API server answers again"),
            Some(_) => {}
        }
    }
}

fn bearer(metadata: &MetadataMap) -> Option<&str> {
    let (scheme, token) = metadata.get("authorization")?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
