//! Who a workload is, and how it proves it: SPIFFE ids, certificates and their rotation, rustls configurations.

use std::{io, path::Path, sync::Arc, time::Duration};

use culvert_policy::{Reason, SpiffeId};

/// SKELETON: bodies to be written.
pub struct Authority;
impl Authority {
    pub fn in_memory(_trust_domain: &str) -> io::Result<Self> { todo!() }
    pub fn in_dir(_dir: &Path, _trust_domain: &str) -> io::Result<Self> { todo!() }
}
#[derive(Clone)]
pub struct Identities;
impl Identities {
    pub fn new(_authority: Authority, _lifetime: Duration) -> Self { todo!() }
    pub fn workload(&self, _id: &SpiffeId) -> io::Result<Arc<Workload>> { todo!() }
    pub async fn rotate(self) { todo!() }
}
pub struct Workload;
impl Workload {
    pub fn id(&self) -> &SpiffeId { todo!() }
    pub fn hbone_acceptor(&self) -> Arc<rustls::ServerConfig> { todo!() }
    pub fn hbone_connector(&self, _expected: &SpiffeId) -> Arc<rustls::ClientConfig> { todo!() }
    pub fn sidecar_connector(&self, _expected: &SpiffeId) -> Arc<rustls::ClientConfig> { todo!() }
}
#[derive(Clone, Debug)]
pub struct VerifiedPeer(SpiffeId);
impl VerifiedPeer {
    pub fn id(&self) -> &SpiffeId { &self.0 }
    pub fn of_server(_connection: &rustls::ClientConnection) -> Result<Self, Reason> { todo!() }
    pub fn of_client(_connection: &rustls::ServerConnection) -> Result<Self, Reason> { todo!() }
}
pub fn tls_reason(_error: &io::Error) -> Reason { todo!() }
pub fn server_name() -> rustls::pki_types::ServerName<'static> { todo!() }
