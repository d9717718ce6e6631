//! What Envoy is told: the parts of a mesh peer, as Istio would configure them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{Credentials, Mesh};

/// Listeners and the clusters that they lead to.
#[derive(Default)]
pub struct Config {
    listeners: Vec<Value>,
    clusters: Vec<Value>,
}

/// What one side of a TLS connection shows, and what it believes.
pub struct Tls<'a> {
    /// The certificate of this side.
    pub shown: &'a Credentials,
    /// The authority that the other side's certificate has to come from.
    pub believed: &'a Mesh,
    /// The identity of the other side, or what it begins with.
    pub peer: Peer<'a>,
}

/// Whom to believe.
#[derive(Clone, Copy)]
pub enum Peer<'a> {
    /// This identity.
    Exactly(&'a str),
    /// Any identity of this trust domain.
    OfTrustDomain(&'a str),
}

impl Config {
    /// Takes plaintext, and tunnels it over HBONE to `hbone`, asking for `target`.
    #[must_use]
    pub fn hbone_client(self, at: SocketAddr, hbone: SocketAddr, target: SocketAddr, tls: &Tls<'_>) -> Self {
        // As ztunnel and waypoints tell the address of the client that they stand for.
        let forwarded =
            json!({ "header": { "key": "forwarded", "value": "for=\"%DOWNSTREAM_REMOTE_ADDRESS%\"" } });
        let tunneling = json!({ "hostname": target, "headers_to_add": [forwarded] });
        let options = json!({
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": { "allow_connect": true } },
        });
        let mut cluster = self.cluster_to(hbone);
        cluster["alt_stat_name"] = json!("hbone");
        cluster["transport_socket"] = tls.upstream("h2");
        cluster["typed_extension_protocol_options"] =
            json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options });
        let mut proxy = tcp_proxy(&cluster);
        proxy["typed_config"]["tunneling_config"] = tunneling;
        self.with(at, &json!([{ "filters": [proxy] }]), cluster)
    }

    /// Takes plaintext, and speaks sidecar mTLS to `to`.
    #[must_use]
    pub fn sidecar_outbound(self, at: SocketAddr, to: SocketAddr, tls: &Tls<'_>) -> Self {
        let mut cluster = self.cluster_to(to);
        cluster["transport_socket"] = tls.upstream("istio");
        let chains = json!([{ "filters": [tcp_proxy(&cluster)] }]);
        self.with(at, &chains, cluster)
    }

    /// Takes sidecar mTLS and plaintext, for the application at `app`.
    #[must_use]
    pub fn sidecar_permissive(self, at: SocketAddr, app: SocketAddr, tls: &Tls<'_>) -> Self {
        let cluster = self.cluster_to(app);
        let filters = json!([tcp_proxy(&cluster)]);
        let mesh =
            json!({ "transport_protocol": "tls", "application_protocols": ["istio-peer-exchange", "istio"] });
        let chains = json!([
            { "filter_chain_match": mesh, "transport_socket": tls.downstream("istio"), "filters": filters },
            { "filter_chain_match": { "transport_protocol": "raw_buffer" }, "filters": filters },
        ]);
        let inspector = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        });
        let listener = json!({
            "listener_filters": [{ "name": "envoy.filters.listener.tls_inspector", "typed_config": inspector }],
            // Who waits for the server to speak first sends nothing to inspect.
            "listener_filters_timeout": "1s",
            "continue_on_listener_filters_timeout": true,
            "filter_chains": chains,
        });
        self.with_listener(at, listener, cluster)
    }

    /// Takes sidecar mTLS alone, for the application at `app`.
    #[must_use]
    pub fn sidecar_strict(self, at: SocketAddr, app: SocketAddr, tls: &Tls<'_>) -> Self {
        let cluster = self.cluster_to(app);
        let chains =
            json!([{ "transport_socket": tls.downstream("istio"), "filters": [tcp_proxy(&cluster)] }]);
        self.with(at, &chains, cluster)
    }

    /// Serves HBONE for the applications at `apps`, with so many streams at once on one connection, where that is
    /// not left to Envoy.
    #[must_use]
    pub fn hbone_server(
        self,
        at: SocketAddr,
        apps: &[SocketAddr],
        streams: Option<u32>,
        tls: &Tls<'_>,
    ) -> Self {
        let mut http2 = json!({ "allow_connect": true });
        if let Some(streams) = streams {
            http2["max_concurrent_streams"] = json!(streams);
        }
        let cluster = json!({
            "name": at.to_string(),
            "type": "ORIGINAL_DST",
            "lb_policy": "CLUSTER_PROVIDED",
            "connect_timeout": "5s",
            "original_dst_lb_config": { "use_http_header": true, "http_header_name": ":authority" },
            "circuit_breakers": no_limits(),
        });
        let router = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "hbone",
            "codec_type": "HTTP2",
            "http2_protocol_options": http2,
            "stream_idle_timeout": "0s",
            "route_config": { "virtual_hosts": [{ "name": "pod", "domains": apps, "routes": [connect_route(&cluster)] }] },
            "http_filters": [{ "name": "router", "typed_config": router }],
        });
        let filters = json!([{ "name": "http", "typed_config": manager }]);
        let chains = json!([{ "transport_socket": tls.downstream("h2"), "filters": filters }]);
        self.with(at, &chains, cluster)
    }

    /// As `static_resources` of Envoy's bootstrap.
    pub fn resources(&self) -> Value {
        json!({ "listeners": self.listeners, "clusters": self.clusters })
    }

    fn with(self, at: SocketAddr, chains: &Value, cluster: Value) -> Self {
        self.with_listener(at, json!({ "filter_chains": chains }), cluster)
    }

    fn with_listener(mut self, at: SocketAddr, mut listener: Value, cluster: Value) -> Self {
        listener["name"] = json!(at.to_string());
        listener["address"] = socket_address(at);
        self.listeners.push(listener);
        self.clusters.push(cluster);
        self
    }

    fn cluster_to(&self, endpoint: SocketAddr) -> Value {
        let name = format!("{}-{endpoint}", self.clusters.len());
        let endpoints =
            json!([{ "lb_endpoints": [{ "endpoint": { "address": socket_address(endpoint) } }] }]);
        json!({
            "name": name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "circuit_breakers": no_limits(),
            "load_assignment": { "cluster_name": name, "endpoints": endpoints },
        })
    }
}

fn tcp_proxy(cluster: &Value) -> Value {
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": cluster["name"],
    });
    json!({ "name": "tcp", "typed_config": proxy })
}

fn connect_route(cluster: &Value) -> Value {
    json!({
        "match": { "connect_matcher": {} },
        "route": {
            "cluster": cluster["name"],
            // The default is for requests, not for tunnels.
            "timeout": "0s",
            "upgrade_configs": [{ "upgrade_type": "CONNECT", "connect_config": {} }],
        },
    })
}

/// Envoy stops at 1024 otherwise.
fn no_limits() -> Value {
    let many = 1_000_000;
    json!({ "thresholds": [{ "max_connections": many, "max_pending_requests": many, "max_requests": many }] })
}

fn socket_address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip(), "port_value": at.port() } })
}

impl Tls<'_> {
    fn upstream(&self, alpn: &str) -> Value {
        transport_socket("UpstreamTlsContext", &json!({ "common_tls_context": self.common(alpn) }))
    }

    fn downstream(&self, alpn: &str) -> Value {
        let context = json!({ "require_client_certificate": true, "common_tls_context": self.common(alpn) });
        transport_socket("DownstreamTlsContext", &context)
    }

    fn common(&self, alpn: &str) -> Value {
        json!({
            "alpn_protocols": [alpn],
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3" },
            "tls_certificates": [{
                "certificate_chain": { "inline_string": self.shown.certificate_pem() },
                "private_key": { "inline_string": self.shown.key_pem() },
            }],
            "validation_context": {
                "trusted_ca": { "inline_string": self.believed.root() },
                "match_typed_subject_alt_names": [{ "san_type": "URI", "matcher": self.peer.matcher() }],
            },
        })
    }
}

fn transport_socket(context: &str, config: &Value) -> Value {
    let mut typed = config.clone();
    typed["@type"] =
        json!(format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{context}"));
    json!({ "name": "tls", "typed_config": typed })
}

impl Peer<'_> {
    fn matcher(self) -> Value {
        match self {
            Self::Exactly(identity) => json!({ "exact": identity }),
            Self::OfTrustDomain(domain) => json!({ "prefix": format!("spiffe://{domain}/") }),
        }
    }
}
