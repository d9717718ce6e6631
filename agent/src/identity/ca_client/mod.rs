//! The client of a certificate authority that speaks Istio's protocol: `culvert ca`, or istiod.

mod address;
pub(crate) mod answer;
mod connect;
mod error;
mod request;
mod token;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use culvert_policy::SpiffeId;
use futures::future::BoxFuture;
use tokio::time::timeout;
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel};
use tonic_prost::ProstCodec;

pub use self::{
    address::{CaAddress, CaAddressError},
    answer::AnswerFault,
    error::CaError,
};
use self::{request::Request, token::TokenFile};
use super::{
    Certificate, Clock, IssueError, Issuer, Roots, SystemClock, Trust,
    istio_ca::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse},
    roots_file::RootsFile,
    tls,
};

/// How long one request may take, with the connection that it may need.
const PATIENCE: Duration = Duration::from_secs(10);
/// More than any chain with its roots needs.
const MAX_ANSWER: usize = 256 * 1024;

/// An authority elsewhere, and who it and everybody in the mesh is trusted by.
pub struct CaClient {
    address: CaAddress,
    token: TokenFile,
    patience: Duration,
    clock: Arc<dyn Clock>,
    trust: Arc<Trust>,
    roots: RootsFile,
    line: Mutex<Line>,
}

/// The one connection that all requests share, made anew when it breaks and when the roots change.
#[derive(Default)]
struct Line {
    held: Option<(Arc<Roots>, Channel)>,
    /// Counts the connections.
    number: u64,
}

impl CaClient {
    /// The authority at `address`. `roots` is a file with the roots that it and all of the mesh must chain to, and
    /// `token` one with this agent's service-account token; both may change and need not be there yet.
    pub fn new(address: CaAddress, roots: PathBuf, token: PathBuf, trust_domain: &str) -> Self {
        let trust = Arc::new(Trust::nobody(trust_domain));
        Self {
            address,
            token: TokenFile(token),
            patience: PATIENCE,
            clock: Arc::new(SystemClock),
            roots: RootsFile::open(roots, trust.clone()),
            trust,
            line: Mutex::default(),
        }
    }

    /// The same, where no request may take longer than `patience`.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, where the authority's own certificate is judged by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    async fn request(
        &self,
        id: &SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Certificate, CaError> {
        let request = Request::new(id).map_err(|source| CaError::Request { id: id.clone(), source })?;
        let chain = self.create(request.message(lifetime), id).await?;
        request
            .certificate(&chain, &self.trust, now)
            .map_err(|source| CaError::Answer { id: id.clone(), source })
    }

    /// One call of `CreateCertificate`.
    async fn create(&self, message: IstioCertificateRequest, id: &SpiffeId) -> Result<Vec<String>, CaError> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.token.bearer()?);
        let (number, channel) = self.channel()?;
        let answer = match timeout(self.patience, call(channel, request)).await {
            Err(_) => Err(CaError::Late { address: self.address.clone(), after: self.patience }),
            Ok(answer) => answer.map_err(|status| CaError::of(&self.address, id, status)),
        };
        if matches!(answer, Err(CaError::Late { .. } | CaError::Unreachable { .. })) {
            self.hang_up(number);
        }
        Ok(answer?.cert_chain)
    }

    fn channel(&self) -> Result<(u64, Channel), CaError> {
        let roots = self.trust.roots();
        if roots.is_empty() {
            return Err(CaError::NoRoots { address: self.address.clone() });
        }
        let mut line = self.line();
        if let Some((by, channel)) = &line.held
            && Arc::ptr_eq(by, &roots)
        {
            return Ok((line.number, channel.clone()));
        }
        let channel = connect::channel(
            &self.address,
            tls::authority_client_config(self.clock.clone(), &roots),
            self.patience,
        );
        line.number += 1;
        line.held = Some((roots, channel.clone()));
        Ok((line.number, channel))
    }

    /// Has the next request connect, and look the name up, anew.
    fn hang_up(&self, number: u64) {
        let mut line = self.line();
        if line.number == number {
            line.held = None;
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn call(
    channel: Channel,
    request: tonic::Request<IstioCertificateRequest>,
) -> Result<IstioCertificateResponse, tonic::Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    client.ready().await.map_err(|error| tonic::Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static(CREATE_CERTIFICATE);
    Ok(client.unary(request, path, ProstCodec::default()).await?.into_inner())
}

impl Issuer for CaClient {
    fn issue<'a>(
        &'a self,
        id: &'a SpiffeId,
        lifetime: Duration,
        now: SystemTime,
    ) -> BoxFuture<'a, Result<Certificate, IssueError>> {
        Box::pin(async move { Ok(self.request(id, lifetime, now).await?) })
    }

    fn trust(&self) -> Arc<Trust> {
        self.trust.clone()
    }

    fn follow(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.roots.follow())
    }
}

impl fmt::Debug for CaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaClient")
            .field("address", &self.address)
            .field("token", &self.token)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}
