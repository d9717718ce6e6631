//! What is spoken, byte for byte, and what is not.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;

use crate::{
    caller::{Ask, Caller, id},
    cluster::{Cluster, NAME},
};

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn connect(
    cluster: &Cluster,
    address: SocketAddr,
    name: &'static str,
    version: &'static rustls::SupportedProtocolVersion,
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(cluster.roots().as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

#[tokio::test]
async fn only_tls_1_3_is_spoken_and_only_by_its_own_names() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    for name in [NAME, "culvert-ca.culvert-system.svc.cluster.local"] {
        let stream = connect(&cluster, ca.address, name, &TLS13).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }
    let old = connect(&cluster, ca.address, NAME, &TLS12).await.unwrap_err();
    assert!(old.to_string().contains("ProtocolVersion"), "{old}");
    let other = connect(&cluster, ca.address, "kubernetes.default.svc", &TLS13).await.unwrap_err();
    assert!(other.to_string().contains("not valid for name"), "{other}");
}

#[tokio::test]
async fn plaintext_is_not_answered() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    for said in [PREFACE, b"GET / HTTP/1.1\r\nHost: culvert-ca\r\n\r\n"] {
        let mut stream = TcpStream::connect(ca.address).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.windows(4).any(|bytes| bytes == b"HTTP"), "{answer:?}");
        assert!(answer.len() <= 7, "a TLS alert and no more: {answer:?}");
    }
}

#[tokio::test]
async fn there_is_one_method_and_no_other() {
    let cluster = Cluster::new();
    let ca = cluster.serve().await;
    let caller = Caller::new(&cluster, ca.address).await;
    let ask = Ask::for_pod(&cluster.agent(1), &id("full", "sleep"));
    for path in ["/", "/istio.v1.auth.IstioCertificateService/Other", "/grpc.health.v1.Health/Check"] {
        let answer = caller.call(path, ask.token.as_deref(), ask.message()).await;
        answer.refused(Code::Unimplemented, "expected CreateCertificate");
    }
    caller.ask(&ask).await.certificates();
}
