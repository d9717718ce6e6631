//! Each parser of bytes from outside as a function of bytes, which panics where the parser breaks its promise, and
//! returns whether they were accepted.
//!
//! `cargo +nightly fuzz run TARGET tests/corpus/TARGET` from the top of the repository searches on; the tests here replay
//! each corpus and what is near it.

macro_rules! targets {
    ($($(#[$doc:meta])+ $name:ident: $($part:ident)::+,)+) => {
        $(
            $(#[$doc])+
            pub fn $name(data: &[u8]) -> bool {
                crate::$($part)::+::fuzz::run(data)
            }
        )+

        #[cfg(test)]
        mod tests {
            use super::replay;

            $(
                #[test]
                fn $name() {
                    replay::corpus(stringify!($name), super::$name);
                }
            )+

            #[test]
            fn each_corpus_has_a_target() {
                assert_eq!(replay::corpora(), std::collections::BTreeSet::from([$(stringify!($name).to_owned()),+]));
            }
        }
    };
}

targets! {
    /// What an authority answers.
    ca_answer: identity::ca_client::answer,
    /// A call of the authority.
    ca_request: ca::service,
    /// A certificate that a peer shows.
    certificate: identity::peer,
    /// The first bytes of a connection of a sidecar.
    client_hello: tunnel::opening,
    /// The headers of a CONNECT.
    connect: tunnel::hbone::headers,
    /// A request for a certificate.
    csr: ca::csr,
    /// What the other end of an HTTP/2 connection sends.
    http2: fuzzing::http2,
    /// A file of manifests.
    manifest: cluster::manifests::documents,
    /// Istio's configuration of the mesh.
    mesh_config: cluster::mesh,
    /// A datagram of netlink.
    netlink: netlink,
    /// An object of the API server.
    object: cluster::decode,
    /// A line to the agent's socket.
    question: status::door,
    /// What a tunnel's handshake begins with.
    record: tunnel::records::handshake,
    /// The root certificates that are published.
    roots: identity::roots,
    /// A socket in the kernel's list.
    socket: sock_diag,
    /// A line of a watch, or a page of a list.
    watch: cluster::watch::wire,
}

/// A crate of its own.
mod http2 {
    pub(crate) mod fuzz {
        pub(crate) use culvert_http2::fuzz::receive as run;
    }
}

#[cfg(test)]
mod replay;
