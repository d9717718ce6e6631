//! `culvert ca`: the certificate authority as a server.
//!
//! It speaks `istio.v1.auth.IstioCertificateService/CreateCertificate` over TLS 1.3, to any caller with a token of a
//! service account. An agent gets certificates for the pods of its own node; everybody else gets its own and no other.
//!
//! A request goes through named phases: [`caller`] says who asks, [`limit`] whether it may ask again so soon,
//! [`csr`] reads what is to be signed, [`authorize`] decides, and the root that [`roots`] names signs. Replicas share
//! nothing but the Secret with the roots and the `ConfigMap` that publishes them.

mod authorize;
mod caller;
pub(crate) mod csr;
mod error;
mod limit;
mod options;
mod outage;
mod pods;
mod refusal;
mod roots;
mod secrecy;
mod server;
pub(crate) mod service;
mod serving;

use std::{future::Future, net::SocketAddr, sync::Arc};

use kube::Client;
use tokio::net::TcpListener;

pub use error::CaError;
pub use options::{Account, AccountError, CaOptions, OptionsFault};
pub use roots::StoreError;

use roots::{Keeper, Roots};
use server::Server;
use service::Service;
use serving::Serving;

/// A certificate authority that has its roots, has published them, and listens.
pub struct Ca {
    address: SocketAddr,
    server: Server,
    keeper: Keeper,
}

/// Serves until `shutdown`; then open requests have a moment to end.
pub async fn serve(
    options: CaOptions,
    client: Client,
    shutdown: impl Future<Output = ()>,
) -> Result<(), CaError> {
    tokio::pin!(shutdown);
    tokio::select! {
        ca = Ca::start(options, client) => ca?.run(shutdown.as_mut()).await,
        () = shutdown.as_mut() => {}
    }
    Ok(())
}

impl Ca {
    /// Loads the roots, or makes the first, and waits for the API server as long as that takes. Then it listens.
    pub async fn start(options: CaOptions, client: Client) -> Result<Self, CaError> {
        options.check()?;
        let options = Arc::new(options);
        let roots = Arc::new(Roots::new(&options));
        let serving = Arc::new(Serving::new(&options)?);
        let mut keeper = Keeper::new(&client, options.clone(), roots.clone(), serving.clone());
        keeper.first().await?;
        let (listener, address) = bind(options.listen).await?;
        let service = Service::new(client, options.clone(), roots);
        let server = Server::new(listener, serving.tls(options.clock.clone()), service);
        tracing::info!(%address, trust_domain = options.trust_domain, "certificate authority serves");
        Ok(Self { address, server, keeper })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves, and keeps the roots, until `shutdown`.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { server, keeper, .. } = self;
        tokio::select! {
            () = server.run(shutdown) => {}
            never = keeper.keep() => match never {},
        }
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), CaError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source| CaError::Listen { address, source })
}
