//! What kube-proxy does for connections that nobody captures: a Service's address becomes that of a ready pod.

use std::{fmt::Write, net::IpAddr, process::Command};

use anyhow::Context;

use crate::{Family, Service, manifests::ClusterModel, netns, node::Link, service::ServicePort};

/// Loads rules into a node, in the place of those that were there.
pub(crate) fn load(netns: &str, rules: &str) -> anyhow::Result<()> {
    let mut nft = Command::new("ip");
    nft.args(["netns", "exec", netns, "nft", "-f", "-"]);
    netns::feed(&mut nft, rules).with_context(|| format!("nft in {netns} did not take\n{rules}"))
}

/// The rules for all Services; the same on each node.
pub(crate) fn rules(model: &ClusterModel, nodes: &[Link]) -> String {
    let (mut served, mut refused) = (String::new(), String::new());
    for service in model.services.iter().filter(|service| !service.spec.headless) {
        for family in Family::ALL {
            let pods = model.endpoints(service).filter(|pod| pod.ready).map(|pod| pod.ip(family));
            match pods.collect::<Vec<_>>().as_slice() {
                [] => refuse(&mut refused, service, family),
                pods => lead_to(&mut served, service, family, pods),
            }
        }
    }
    format!(
        "table inet {TABLE}\n\
         delete table inet {TABLE}\n\
         table inet {TABLE} {{\n\
         chain services {{\n{served}}}\n\
         chain prerouting {{\ntype nat hook prerouting priority dstnat;\njump services\n}}\n\
         chain output {{\ntype nat hook output priority -100;\njump services\n}}\n\
         chain postrouting {{\ntype nat hook postrouting priority srcnat;\n{}}}\n\
         chain refused {{\ntype filter hook prerouting priority filter;\n{refused}}}\n\
         }}\n",
        hairpins(model, nodes)
    )
}

const TABLE: &str = "kube-proxy";

fn refuse(rules: &mut String, service: &Service, family: Family) {
    let (keyword, address) = (keyword(family), service.ip(family));
    line(rules, &format!("{keyword} daddr {address} meta l4proto tcp reject with tcp reset"));
}

fn lead_to(rules: &mut String, service: &Service, family: Family, pods: &[IpAddr]) {
    let (keyword, address, count) = (keyword(family), service.ip(family), pods.len());
    for ServicePort { port, target } in &service.spec.ports {
        let turn = format!("numgen inc mod {count} map {{ {} }}", choices(pods, *target));
        line(rules, &format!("{keyword} daddr {address} tcp dport {port} dnat {keyword} to {turn}"));
    }
}

/// Round robin: the elements of a map from a counter to addresses.
fn choices(pods: &[IpAddr], port: u16) -> String {
    let choices = pods.iter().enumerate().map(|(turn, pod)| format!("{turn} : {pod} . {port}"));
    choices.collect::<Vec<_>>().join(", ")
}

/// A pod that reaches itself by way of its Service must not see its own address as that of the client.
fn hairpins(model: &ClusterModel, nodes: &[Link]) -> String {
    let mut rules = String::new();
    for (pod, family) in model.pods.values().flat_map(|pod| Family::ALL.map(|family| (pod, family))) {
        let (keyword, ip) = (keyword(family), pod.ip(family));
        if let Some(node) = nodes.iter().find(|node| node.name == pod.node()) {
            let node = node.ip(family);
            line(
                &mut rules,
                &format!("{keyword} saddr {ip} {keyword} daddr {ip} ct status dnat snat {keyword} to {node}"),
            );
        }
    }
    rules
}

fn line(rules: &mut String, rule: &str) {
    writeln!(rules, "{rule}").expect("writing to a string does not fail");
}

const fn keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}
