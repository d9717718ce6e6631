//! How soon a change of the cluster takes effect, from the moment of its writing. Nothing fails for being slow: what
//! was measured is printed.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use culvert_testbed::{Family, PodSpec, walkthrough::Transport};

use crate::{
    app::{PORT, Server, call, eventually},
    cluster::{Cluster, STRICT},
};

const ROUNDS: usize = 5;

#[test]
fn a_change_of_policy_takes_effect() {
    let cluster = Cluster::start();
    let to = cluster.addresses()[0];
    let is_refused = || {
        let refused = call(&cluster.legacy, to).err().map(|error| error.kind());
        (refused == Some(ErrorKind::ConnectionRefused)).then_some(())
    };
    let is_answered = || call(&cluster.legacy, to).ok().map(drop);
    let (mut strict, mut permissive) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        strict.push(timed(|| cluster.machine.apply("policy", STRICT).unwrap(), "the refusal", is_refused));
        permissive.push(timed(|| cluster.machine.unapply("policy").unwrap(), "the answer", is_answered));
    }
    report("STRICT refuses plaintext", strict);
    report("PERMISSIVE lets plaintext pass", permissive);
}

#[test]
fn a_change_of_pods_takes_effect() {
    let mut cluster = Cluster::start();
    let to = cluster.addresses()[0];
    let (mut unlabelled, mut labelled, mut created) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (enrolled, transport, times) in
            [(false, Transport::Plaintext, &mut unlabelled), (true, Transport::Mtls, &mut labelled)]
        {
            let begin = Instant::now();
            cluster.enrol_server(enrolled);
            let is_so = || (cluster.transport(to)? == transport).then_some(());
            eventually(transport.as_str(), is_so);
            times.push(begin.elapsed());
        }
        created.push(create(&mut cluster, &format!("new-{round}")));
    }
    report("an unlabelled pod is spoken to in plaintext", unlabelled);
    report("a labelled pod is spoken to over mTLS", labelled);
    report("a new pod is spoken to over mTLS", created);
}

/// From the writing of a pod whose sandbox stands already.
fn create(cluster: &mut Cluster, name: &str) -> Duration {
    let spec = PodSpec::new("full", name).enrolled();
    let pod = cluster.machine.pod(&cluster.b, spec).unwrap();
    let _server = Server::start(&pod);
    let to = pod.address(Family::V6, PORT);
    let is_carried = || (cluster.transport(to)? == Transport::Mtls).then_some(());
    let taken = timed(|| cluster.machine.publish().unwrap(), "mTLS", is_carried);
    cluster.machine.delete(pod);
    cluster.machine.publish().unwrap();
    taken
}

fn timed(change: impl FnOnce(), what: &str, effect: impl FnMut() -> Option<()>) -> Duration {
    let begin = Instant::now();
    change();
    eventually(what, effect);
    begin.elapsed()
}

#[expect(clippy::print_stdout, reason = "the figures are for people")]
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("{what}: median {:?}, longest {:?}", times[times.len() / 2], times[times.len() - 1]);
}
